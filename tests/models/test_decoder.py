from dataclasses import replace

import numpy as np
import pytest

from minivlm.errors import InputError
from minivlm.gradcheck import gradcheck
from minivlm.models.decoder import Decoder, DecoderConfig
from minivlm.nn.causal import KeyValues
from minivlm.ops.losses import cross_entropy
from minivlm.tensor import Tensor, no_grad

CONFIG = DecoderConfig(vocabulary=30, width=24, heads=6, key_heads=2, layers=2, hidden=40)
VARIANTS = [
    {},
    {"tied": False, "scale_embeddings": False},
    {"key_heads": 6, "rope_base": 500.0},
    {"key_heads": 1, "rope_scale": 4.0},
]


def model(dtype=np.float32, **changes):
    return Decoder(replace(CONFIG, **changes), np.random.default_rng(0)).astype(dtype)


def some_ids(B=2, T=9, seed=0):
    return np.random.default_rng(seed).integers(0, 30, (B, T))


@pytest.mark.parametrize("changes", VARIANTS)
def test_shapes_and_float32_forward_and_backward(changes):
    decoder = model(**changes)
    logits = decoder(some_ids())
    assert (logits.shape, logits.dtype) == ((2, 9, 30), np.float32)
    cross_entropy(logits, some_ids(seed=1)).backward()
    for name, p in decoder.named_parameters().items():
        assert p.grad is not None, name
        assert (p.grad.shape, p.grad.dtype) == (p.shape, np.float32), name


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_gradient_of_the_whole_model_is_its_slope(changes):
    decoder = model(np.float64, **changes)
    ids, labels = some_ids(2, 5), some_ids(2, 5, seed=1)
    gradcheck(
        lambda *_: cross_entropy(decoder(ids), labels),
        *decoder.parameters(),
        rng=np.random.default_rng(0),
    )


def test_no_position_looks_ahead():
    decoder, ids = model(), some_ids()
    changed = ids.copy()
    changed[:, 5:] = (ids[:, 5:] + 1) % 30
    before, after = decoder(ids).data, decoder(changed).data
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert not np.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("parts", [[9], [1] * 9, [4, 1, 3, 1], [8, 1]])
def test_with_memory_each_position_is_as_without(changes, parts):
    decoder, ids = model(**changes), some_ids()
    memory, start, pieces = decoder.new_memory(), 0, []
    with no_grad():
        whole = decoder(ids).data
        for length in parts:
            pieces.append(decoder(ids[:, start : start + length], memory=memory).data)
            start += length
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, rtol=1e-5, atol=1e-5)
    assert memory[0].length == 9


@pytest.mark.parametrize("changes", VARIANTS)
def test_in_a_padded_batch_each_text_is_as_alone(changes):
    decoder, lengths = model(**changes), [9, 4, 1]
    texts = [some_ids(1, length, seed=length) for length in lengths]
    ids, mask = np.zeros((3, 9), int), np.zeros((3, 9), bool)
    for row, text in enumerate(texts):
        ids[row, 9 - text.size :], mask[row, 9 - text.size :] = text, True
    with no_grad():
        batched = decoder(ids, mask).data
        memory = decoder.new_memory()
        first = decoder(ids[:, :6], mask[:, :6], memory).data
        rest = decoder(ids[:, 6:], mask, memory).data
        for row, text in enumerate(texts):
            alone = decoder(text).data[0]
            np.testing.assert_allclose(batched[row, 9 - text.size :], alone, rtol=1e-5, atol=1e-5)
            both = np.concatenate([first[row], rest[row]])[9 - text.size :]
            np.testing.assert_allclose(both, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changes", VARIANTS)
def test_attention_maps_are_what_each_position_gathered(changes):
    decoder = model(np.float64, **changes)
    x = start = decoder.embed(some_ids())
    maps = decoder.attention_maps(x)
    assert len(maps) == len(decoder.blocks)
    angles = decoder.angles(9, 9, None, x)
    with no_grad():
        for block, P in zip(decoder.blocks, maps, strict=True):
            assert P.shape == (2, 6, 9, 9)
            np.testing.assert_allclose(P.sum(-1), 1, rtol=1e-12)
            assert not P[..., ~np.tri(9, dtype=bool)].any()
            h = block.norm1(x)
            values = block.attn.v(h).data.reshape(2, 9, decoder.config.key_heads, 4)
            values = values.repeat(6 // decoder.config.key_heads, axis=2)
            gathered = np.einsum("bhts,bshc->bthc", P, values).reshape(2, 9, 24)
            expected = block.attn.out(Tensor(gathered)).data
            np.testing.assert_allclose(block.attn(h, angles).data, expected, rtol=1e-10)
            x = block(x, angles)
        np.testing.assert_array_equal(decoder.final_norm(x).data, decoder.features(start).data)


def test_memory_doubles_and_keeps_what_it_has():
    memory, rng = KeyValues(), np.random.default_rng(0)
    added = [rng.standard_normal((2, 3, length, 4)) for length in (1, 1, 2, 5, 1)]
    for new in added[:-1]:
        memory.extend(new, -new)
    keys, values = memory.extend(added[-1], -added[-1])
    np.testing.assert_array_equal(keys, np.concatenate(added, 2))
    np.testing.assert_array_equal(values, -keys)


def test_scaled_positions_are_those_of_a_shorter_text():
    near = model(rope_scale=2.0).angles(7, 7, None, model().tokens.weight)
    far = model().angles(4, 4, None, model().tokens.weight)
    np.testing.assert_allclose(near[0][::2], far[0], rtol=1e-6)
    np.testing.assert_allclose(near[1][::2], far[1], rtol=1e-6)


def test_tied_embeddings_start_at_the_size_of_the_stream():
    decoder = model(width=96, heads=6)
    assert decoder.embed(some_ids()).data.std() == pytest.approx(1, abs=0.1)
    names = decoder.named_parameters()
    assert "output.weight" not in names
    assert model(tied=False).named_parameters()["output.weight"].shape == (30, 24)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"layers": 0}, "decoder layers 0 is not positive"),
        ({"width": 25}, "decoder width 25 is not a multiple of heads 6"),
        ({"width": 18}, "3 channels a head cannot turn in pairs"),
        ({"key_heads": 4}, "heads 6 are not a multiple of key heads 4"),
        ({"rope_scale": 0.0}, "scale 0.0 is not positive"),
    ],
)
def test_a_config_says_what_is_wrong_with_it(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        replace(CONFIG, **changes)


def test_wrong_ids_and_masks_are_refused():
    with pytest.raises(ValueError, match=r"ids 3\.\.30 exceed a vocabulary of 30"):
        model()(np.array([[3, 30]]))
    with pytest.raises(ValueError, match=r"mask \(2, 8\) is not \(2, 9\)"):
        model()(some_ids(), np.ones((2, 8), bool))

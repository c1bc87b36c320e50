import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from minivlm.errors import InputError
from minivlm.gradcheck import gradcheck
from minivlm.models.clip import CLIP, CLIPConfig
from minivlm.models.text import TextConfig
from minivlm.models.vit import ViTConfig
from minivlm.nn.module import freeze
from minivlm.tensor import Tensor
from tests.models.tiny import CONFIG, TEXT, VISION, tiny_batch, tiny_clip

TOWERS = [
    {},
    {"pool": "mean"},
    {"pre_norm": False, "activation": "gelu"},
    {"pool": "mean", "pre_norm": False, "activation": "gelu_tanh"},
]


@pytest.mark.parametrize("vision", TOWERS)
def test_shapes_and_float32_forward_and_backward(vision):
    model = tiny_clip(**vision)
    pixels, ids = tiny_batch()
    assert model.encode_image(pixels).shape == (5, 6)
    assert model.encode_text(ids).shape == (5, 6)
    assert model(pixels, ids[:3]).shape == (5, 3)
    loss = model.loss(pixels, ids)
    assert loss.dtype == np.float32
    loss.backward()
    for name, p in model.named_parameters().items():
        assert p.grad is not None, name
        assert (p.grad.shape, p.grad.dtype) == (p.shape, np.float32), name


@pytest.mark.parametrize("vision", TOWERS)
def test_the_gradient_of_the_whole_model_is_its_slope(vision):
    model = tiny_clip(**vision).astype(np.float64)
    pixels, ids = tiny_batch(dtype=np.float64)
    gradcheck(
        lambda x, *_: model.loss(x, ids),
        Tensor(pixels, requires_grad=True),
        *model.parameters(),
        rng=np.random.default_rng(0),
    )


def test_an_untrained_loss_is_near_the_logarithm_of_the_batch():
    model = CLIP(replace(CONFIG, temperature=1.0), np.random.default_rng(0))
    assert model.loss(*tiny_batch(count=32)).item() == pytest.approx(math.log(32), abs=0.3)


def test_the_loss_takes_embeddings_too():
    model = tiny_clip()
    pixels, ids = tiny_batch()
    whole = model.loss(pixels, ids)
    parts = model.loss_of(model.encode_image(pixels), model.encode_text(ids))
    assert whole.item() == parts.item()


def test_logits_are_cosines_times_the_scale():
    model = tiny_clip()
    pixels, ids = tiny_batch()
    image, text = model.encode_image(pixels).data, model.encode_text(ids).data
    cosines = (image @ text.T) / np.outer(
        np.linalg.norm(image, axis=1), np.linalg.norm(text, axis=1)
    )
    np.testing.assert_allclose(model(pixels, ids).data, cosines / 0.07, rtol=1e-4)


def test_what_stands_after_the_end_token_does_not_matter():
    model = tiny_clip()
    ids = np.array([[1, 5, 6, 2, 0, 0, 0]])
    other = np.array([[1, 5, 6, 2, 9, 2, 7]])
    short = ids[:, :4]
    a, b, c = (model.encode_text(x).data for x in (ids, other, short))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-6)


def test_the_scale_is_clamped_on_both_sides():
    model = tiny_clip()
    model.log_scale.data[...] = 9.0
    model.clamp_scale()
    assert model.temperature() == pytest.approx(0.01)
    model.log_scale.data[...] = -1.0
    model.clamp_scale()
    assert model.temperature() == 1


def test_a_frozen_tower_is_not_on_the_tape():
    model = tiny_clip()
    freeze(model.vision)
    features = model.vision(tiny_batch()[0])
    assert features.node is None
    model.loss(*tiny_batch()).backward()
    assert all(p.grad is None for p in model.vision.parameters())
    assert all(p.grad is not None for p in model.text.parameters())


@pytest.mark.parametrize("pool", ["class", "mean"])
def test_attention_maps_and_hidden_states_show_every_block(pool):
    vision = tiny_clip(pool=pool).vision
    pixels = tiny_batch()[0]
    tokens = 4 + (pool == "class")
    maps, states = vision.attention_maps(pixels), vision.hidden_states(pixels)
    assert [m.shape for m in maps] == [(5, 3, tokens, tokens)] * 2
    assert [s.shape for s in states] == [(5, tokens, 12)] * 3
    np.testing.assert_allclose(maps[1].sum(-1), 1, rtol=1e-5)
    last = states[-1].data
    pooled = last[:, 0] if pool == "class" else last.mean(1)
    np.testing.assert_allclose(
        vision.post_norm(Tensor(pooled)).data, vision(pixels).data, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: replace(VISION, width=13), "vision width 13 is not a multiple of heads 3"),
        (lambda: replace(VISION, patch=3), "image side 8 is not a multiple of patch 3"),
        (lambda: replace(VISION, layers=0), "vision layers 0 is not positive"),
        (lambda: replace(VISION, pool="max"), 'vision pool "max" is neither "class" nor "mean"'),
        (lambda: replace(VISION, activation="elu"), 'activation "elu" is none of'),
        (lambda: replace(TEXT, width=9), "text width 9 is not a multiple of heads 2"),
        (lambda: replace(TEXT, context=0), "text context 0 is not positive"),
        (lambda: replace(TEXT, end=20), "end token 20 is not in a vocabulary of 20"),
        (lambda: replace(TEXT, activation="elu"), 'activation "elu" is none of'),
        (lambda: replace(CONFIG, embed=0), "embed 0 is not positive"),
        (lambda: replace(CONFIG, temperature=2.0), "temperature 2.0 is not in 0.01..1"),
    ],
)
def test_a_config_says_what_is_wrong_with_it(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ([[1, 2, 20]], r"ids 1\.\.20 exceed a vocabulary of 20"),
        ([[-1, 2, 3]], r"ids -1\.\.3 exceed a vocabulary of 20"),
        ([[1, 5, 6]], "a text has no end token 2"),
        ([[1] * 7 + [2]], "8 tokens exceed the context of 7"),
    ],
)
def test_wrong_ids_are_refused(ids, sentence):
    with pytest.raises(ValueError, match=sentence):
        tiny_clip().encode_text(np.array(ids))


def test_pixels_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"pixels \(1, 3, 8, 9\) are not \(B, 3, 8, 8\)"):
        tiny_clip().encode_image(np.zeros((1, 3, 8, 9), np.float32))


def test_configs_are_what_a_json_file_can_hold():
    parts = asdict(CONFIG)
    rebuilt = CLIPConfig(
        **parts | {"vision": ViTConfig(**parts["vision"]), "text": TextConfig(**parts["text"])}
    )
    assert rebuilt == CONFIG

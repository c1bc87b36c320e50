from dataclasses import replace

import numpy as np
import pytest

from minivlm.errors import InputError
from minivlm.gradcheck import gradcheck
from minivlm.models.llava import LLaVA, LLaVAConfig
from minivlm.models.projector import Projector, ProjectorConfig, pixel_shuffle, pooled
from minivlm.models.vit import ViTConfig
from minivlm.nn.module import freeze
from minivlm.ops.losses import IGNORE, cross_entropy
from minivlm.tensor import Tensor
from tests.models.test_decoder import CONFIG as DECODER

VISION = ViTConfig(image=16, patch=4, width=12, heads=3, layers=2)
MLP = ProjectorConfig("mlp", inputs=12, width=24, grid=4)
CONFIG = LLaVAConfig(VISION, MLP, DECODER, image_token=5)
PROJECTORS = {
    "linear": {"kind": "linear"},
    "mlp, shuffled": {"shuffle": 2},
    "mlp, pooled, positions": {"pool": 2, "positions": True},
    "linear, normed": {"kind": "linear", "norm": True},
    "mlp, shuffled, normed, positions": {"shuffle": 2, "norm": True, "positions": True},
    "perceiver": {"kind": "perceiver", "latents": 3},
    "perceiver, shuffled": {"kind": "perceiver", "latents": 2, "shuffle": 4, "positions": True},
}
rng = np.random.default_rng(0)


def projector_config(name):
    return replace(MLP, **PROJECTORS[name])


def llava(name="mlp, pooled, positions", dtype=np.float32, **changes):
    config = replace(CONFIG, projector=projector_config(name), **changes)
    return LLaVA(config, np.random.default_rng(0)).astype(dtype)


def batch(model, dtype=np.float32):
    """Three texts: of one picture, of two, and of none."""
    M, image = model.config.image_tokens, [model.config.image_token]
    texts = [[1, *image * M, 7, 8], [1, *image * M, 9, *image * M, 3], [1, 4, 4]]
    ids = np.zeros((3, max(map(len, texts))), int)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    return ids, rng.standard_normal((3, 3, 16, 16)).astype(dtype)


@pytest.mark.parametrize("name", PROJECTORS)
def test_a_projectors_gradient_is_its_slope(name):
    config = projector_config(name)
    projector = Projector(config, np.random.default_rng(0)).astype(np.float64)
    x = Tensor(rng.standard_normal((2, 16, 12)), requires_grad=True)
    assert projector(x).shape == (2, config.tokens, 24)
    gradcheck(lambda x, *_: projector(x), x, *projector.parameters(), rng=np.random.default_rng(0))


def test_shuffled_and_pooled_patches_are_neighbours():
    x = Tensor(np.arange(16.0).reshape(1, 16, 1))  # each patch is its number
    assert pixel_shuffle(x, 4, 2).data[0].tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]
    assert pooled(x, 4, 2).data[0, :, 0].tolist() == [2.5, 4.5, 10.5, 12.5]


def root_mean_square(words):
    return np.sqrt((words * words).mean(-1))


@pytest.mark.parametrize("kind", ["linear", "mlp", "perceiver"])
def test_a_norm_gives_soft_words_an_even_size_whatever_the_size_of_the_features(kind):
    config = replace(MLP, kind=kind, norm=True)
    projector = Projector(config, np.random.default_rng(0)).astype(np.float64)
    x = rng.standard_normal((2, 16, 12))
    for scale in (0.1, 1, 100):
        words = projector(Tensor(scale * x)).data
        np.testing.assert_allclose(root_mean_square(words), 1, atol=0.01)
    projector.norm = None
    if kind != "perceiver":  # whose own last norm evens them out
        sizes = [root_mean_square(projector(Tensor(s * x)).data).mean() for s in (1, 100)]
        assert sizes[1] > 50 * sizes[0]


def test_positions_are_added_last_and_tell_equal_patches_apart():
    config = replace(MLP, shuffle=2, norm=True, positions=True)
    projector = Projector(config, np.random.default_rng(0)).astype(np.float64)
    same = np.broadcast_to(rng.standard_normal(12), (1, 16, 12))
    words = projector(Tensor(same)).data[0] - projector.positions.data
    np.testing.assert_allclose(words, words[:1].repeat(4, 0), rtol=1e-12)
    np.testing.assert_allclose(root_mean_square(words), 1, atol=1e-3)
    assert root_mean_square(projector.positions.data).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", PROJECTORS)
def test_shapes_and_float32_forward_and_backward(name):
    model = llava(name)
    ids, pixels = batch(model)
    logits = model(ids, pixels)
    assert (logits.shape, logits.dtype) == ((*ids.shape, 30), np.float32)
    cross_entropy(logits, ids).backward()
    grads = {n: p.grad for n, p in model.named_parameters().items()}
    lacking = {n for n, grad in grads.items() if grad is None}
    # what lies after the layer that is read, and the class token, whose path ends there
    assert {n.split(".")[1] for n in lacking} <= {"blocks", "post_norm"}
    assert all(n.startswith(("vision.blocks.1", "vision.post_norm")) for n in lacking)
    assert all(grad.dtype == np.float32 for grad in grads.values() if grad is not None)


def test_soft_words_stand_where_image_tokens_do():
    model = llava()
    ids, pixels = batch(model)
    M = model.config.image_tokens
    x = model.spliced(ids, model.see(pixels)).data
    soft = model.projector(model.see(pixels)).data
    words = model.decoder.embed(ids).data
    np.testing.assert_array_equal(x[0, 1 : 1 + M], soft[0])
    np.testing.assert_array_equal(x[1, 1 : 1 + M], soft[1])
    np.testing.assert_array_equal(x[1, 2 + M : 2 + 2 * M], soft[2])
    text = ids != model.config.image_token
    np.testing.assert_array_equal(x[text], words[text])


def test_the_gradient_reaches_the_pixels_and_only_through_their_text():
    model = llava(dtype=np.float64)
    ids, pixels = batch(model, np.float64)
    x = Tensor(pixels, requires_grad=True)
    gradcheck(lambda x: model(ids, x)[0].sum(), x, rng=np.random.default_rng(0))
    x.grad = None
    model(ids, x)[0].sum().backward()
    assert np.abs(x.grad[0]).max() > 0
    assert not x.grad[1:].any()


def test_a_text_without_pictures_is_the_language_models():
    model = llava()
    ids = np.array([[1, 4, 7]])
    np.testing.assert_array_equal(model(ids).data, model.decoder(ids).data)


def some_labels(ids):
    """A few tokens here, more there, and in one text none are to be learnt."""
    labels = np.full_like(ids, IGNORE)
    labels[0, [1, 4]] = [7, 29]
    labels[1, 4:] = rng.integers(0, 30, labels.shape[1] - 4)
    return labels


@pytest.mark.parametrize("name", PROJECTORS)
def test_the_loss_is_the_cross_entropy_of_what_is_to_be_learnt(name):
    short, whole = (llava(name, np.float64) for _ in range(2))
    ids, pixels = batch(short, np.float64)
    labels = some_labels(ids)
    loss = short.loss(ids, labels, short.see(pixels))
    expected = cross_entropy(whole(ids, pixels), labels)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    loss.backward()
    expected.backward()
    others = whole.named_parameters()
    for parameter, p in short.named_parameters().items():
        grad = others[parameter].grad
        assert (p.grad is None) == (grad is None), parameter
        if grad is not None:
            np.testing.assert_allclose(p.grad, grad, rtol=1e-9, atol=1e-12, err_msg=parameter)


def test_the_loss_of_texts_alone_needs_no_pictures():
    model = llava(dtype=np.float64)
    ids = np.array([[1, 4, 7, 8], [1, 9, 3, 0]])
    labels = np.array([[IGNORE, 7, 8, IGNORE], [IGNORE, 3, IGNORE, IGNORE]])
    expected = cross_entropy(model.decoder(ids), labels).item()
    assert model.loss(ids, labels).item() == pytest.approx(expected, rel=1e-12)


def test_a_batch_of_which_nothing_is_to_be_learnt_is_refused():
    model = llava()
    ids, pixels = batch(model)
    with pytest.raises(ValueError, match="no token of the batch is to be learnt"):
        model.loss(ids, np.full_like(ids, IGNORE), model.see(pixels))
    with pytest.raises(ValueError, match="12 image tokens in the text, 0 soft words"):
        model.loss(ids, some_labels(ids))


def test_the_first_stage_trains_the_projector_alone():
    model = llava()
    freeze(model.vision, model.decoder)
    ids, pixels = batch(model)
    seen = model.see(pixels)
    assert seen.node is None  # a frozen eye leaves nothing on the tape
    cross_entropy(model.read(ids, seen), ids).backward()
    for name, p in model.named_parameters().items():
        assert (p.grad is not None) == name.startswith("projector."), name


def test_writing_starts_from_the_pictures():
    model = llava()
    ids, pixels = batch(model)
    ids, pixels = ids[:1, : 2 + model.config.image_tokens], pixels[:1]
    new = np.stack(list(model.generate(ids, pixels, max_new_tokens=4)), 1)
    for i in range(4):
        whole = np.concatenate([ids, new[:, :i]], 1)
        assert model(whole, pixels).data[0, -1].argmax() == new[0, i]


def test_the_layer_that_is_read_is_one_of_the_hidden_states():
    model = llava()
    pixels = batch(model)[1]
    states = model.vision.hidden_states(pixels)
    for layer in (-1, -2, -3):
        tokens = model.vision.patch_tokens(pixels, layer)
        np.testing.assert_array_equal(tokens.data, states[layer].data[:, 1:])


def test_tokens_and_pictures_must_agree():
    model = llava()
    ids, pixels = batch(model)
    with pytest.raises(ValueError, match="12 image tokens in the text, 8 soft words"):
        model(ids, pixels[:2])
    with pytest.raises(ValueError, match="12 image tokens in the text, 0 soft words"):
        model(ids)
    with pytest.raises(ValueError, match=r"patch features \(1, 9, 12\) are not \(B, 16, 12\)"):
        model.projector(Tensor(np.zeros((1, 9, 12), np.float32)))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: replace(MLP, kind="magic"), 'projector "magic" is none of linear, mlp, perceiver'),
        (lambda: replace(MLP, width=0), "projector width 0 is not positive"),
        (lambda: replace(MLP, shuffle=2, pool=2), "either shuffles or pools"),
        (lambda: replace(MLP, pool=3), "3×3 patches do not tile a grid of side 4"),
        (lambda: replace(MLP, kind="perceiver", heads=5), "width 24 is not a multiple of 5 heads"),
        (lambda: replace(CONFIG, projector=replace(MLP, inputs=13)), "inputs 13 does not fit 12"),
        (lambda: replace(CONFIG, projector=replace(MLP, grid=5)), "grid 5 does not fit 4"),
        (lambda: replace(CONFIG, projector=replace(MLP, width=25)), "width 25 does not fit 24"),
        (lambda: replace(CONFIG, image_token=30), "image token 30 is not among 30 ids"),
        (lambda: replace(CONFIG, vision_layer=-4), r"vision layer -4 is not in -3\.\.-1"),
    ],
)
def test_a_config_says_what_is_wrong_with_it(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()

from dataclasses import replace

import numpy as np
import pytest

from minivlm.errors import InputError
from minivlm.gradcheck import gradcheck
from minivlm.models.llava import LLaVA, LLaVAConfig
from minivlm.models.projector import Projector, ProjectorConfig, pixel_shuffle, pooled
from minivlm.models.vit import ViTConfig
from minivlm.nn.module import freeze
from minivlm.ops.losses import cross_entropy
from minivlm.tensor import Tensor
from tests.models.test_decoder import CONFIG as DECODER

VISION = ViTConfig(image=16, patch=4, width=12, heads=3, layers=2)
MLP = ProjectorConfig("mlp", inputs=12, width=24, grid=4)
CONFIG = LLaVAConfig(VISION, MLP, DECODER, image_token=5)
PROJECTORS = {
    "linear": {"kind": "linear"},
    "mlp, shuffled": {"shuffle": 2},
    "mlp, pooled, positions": {"pool": 2, "positions": True},
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

"""minivlm's ops through the rungs, on the CPU: the same calls that a GPU's arrays take."""

import sys

import numpy as np
import pytest

import minivlm_kernels
from minivlm.errors import InputError
from minivlm.ops.attention import attend, attention
from minivlm.ops.contrastive import contrast, contrast_sigmoid, info_nce
from minivlm.ops.lookup import embedding
from minivlm.tensor import Tensor
from minivlm_kernels import KernelFallback, seams
from minivlm_kernels.arrays import BF16
from tests.kernels.oracles import relative_error
from tests.models.tiny import tiny_batch, tiny_clip
from tests.standin import DeviceArray


class Here(np.ndarray):
    """Arrays that take the rungs in these tests, so that plain ones go on as they are."""


def here(array):
    return np.asarray(array).view(Here)


@pytest.fixture
def rungs(monkeypatch):
    """Installs, and gives the names of the attention rungs that ran."""
    seams._warn_once.cache_clear()
    ran = []
    by_name = seams.attention_rung
    monkeypatch.setattr(seams, "attention_rung", lambda name: ran.append(name) or by_name(name))
    minivlm_kernels.install(Here, dense_up_to=0)
    yield ran
    minivlm_kernels.uninstall(Here)


def heads(rng, B, T, H, C, dtype=np.float32):
    """As `MultiHead.split` makes them: a transposed view."""
    return rng.standard_normal((B, T, H, C)).astype(dtype).transpose(0, 2, 1, 3)


def both(q, k, v, dy, mask=None, causal=False):
    """Value and gradients through the rungs, and by the reference in float64."""
    y, backward = attend(here(q), here(k), here(v), mask, causal)
    double = [x.astype(np.float64) for x in (q, k, v)]
    expected, reference_backward = attend.dispatch(object)(*double, mask, causal)
    return (y, *backward(here(dy))), (expected, *reference_backward(dy.astype(np.float64)))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_takes_views_and_any_head_size(rungs, causal):
    rng = np.random.default_rng(0)
    q, dy = heads(rng, 2, 5, 4, 12), heads(rng, 2, 5, 4, 12)
    k, v = heads(rng, 2, 7, 2, 12), heads(rng, 2, 7, 2, 12)
    mask = rng.random((2, 1, 1, 7)) > 0.3
    got, expected = both(q, k, v, dy, mask, causal)
    assert rungs == ["A5", "A4"]
    assert [x.shape for x in got] == [q.shape, q.shape, k.shape, v.shape]
    assert all(x.dtype == np.float32 for x in got)
    assert max(map(relative_error, got, expected)) < 1e-5


def test_attention_in_bfloat16_gives_back_the_dtype_it_got(rungs):
    rng = np.random.default_rng(1)
    q, k, v, dy = (heads(rng, 1, 6, 2, 16) for _ in range(4))
    minivlm_kernels.install(Here, precision="bfloat16")
    got, expected = both(q, k, v, dy)
    assert rungs == ["A6", "A8"]
    assert all(x.dtype == np.float32 for x in got)
    assert max(map(relative_error, got, expected)) < 2e-2  # inputs were rounded, too

    rounded = [x.astype(BF16) for x in (q, k, v, dy)]
    got, expected = both(*rounded)
    assert all(x.dtype == BF16 for x in got)
    assert max(map(relative_error, got, expected)) < 6e-3


def test_float64_runs_by_the_reference_and_says_so_once(rungs):
    rng = np.random.default_rng(2)
    q, k, v, dy = (heads(rng, 1, 3, 1, 4, np.float64) for _ in range(4))
    with pytest.warns(KernelFallback, match="not float64; the NumPy reference runs instead"):
        got, expected = both(q, k, v, dy)
    assert rungs == []
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    both(q, k, v, dy)  # a second warning would be an error


def test_a_long_head_in_bfloat16_runs_by_the_reference_in_float32(rungs):
    rng = np.random.default_rng(3)
    q, k, v, dy = (heads(rng, 1, 3, 1, 144, BF16) for _ in range(4))
    with pytest.warns(KernelFallback, match="head size 144 is over 128"):
        got, expected = both(q, k, v, dy)
    assert all(x.dtype == BF16 for x in got)
    assert max(map(relative_error, got, expected)) < 4e-3


def test_no_queries_are_no_mistake(rungs):
    none = here(np.zeros((1, 1, 0, 16), np.float32))
    one = here(np.ones((1, 1, 1, 16), np.float32))
    assert attend(none, one, one)[0].shape == (1, 1, 0, 16)
    assert rungs == []


def unit(rng, N, E, dtype=np.float32):
    x = rng.standard_normal((N, E))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (BF16, 6e-3)])
def test_both_contrastive_losses_take_rungs(rungs, dtype, tolerance):
    rng = np.random.default_rng(4)
    image, text = unit(rng, 5, 12, dtype), unit(rng, 5, 12, dtype)
    scale, bias = np.float32(9.0), np.float32(-3.0)
    for seam, numbers in ((contrast, (scale,)), (contrast_sigmoid, (scale, bias))):
        given = [here(np.asarray(x)) for x in (image, text, *numbers)]
        nats, backward = seam(*given)
        reference = seam.dispatch(object)
        expected, reference_backward = reference(*(x.astype(np.float64) for x in given))
        got = (nats, *backward(here(np.float32(0.5))))
        right = (expected, *reference_backward(np.float64(0.5)))
        assert [x.shape for x in got] == [np.shape(x) for x in right]
        assert max(map(relative_error, got, right)) < tolerance


def test_a_matrix_of_positives_runs_by_the_reference(rungs):
    rng = np.random.default_rng(5)
    image, text, positives = unit(rng, 4, 8), unit(rng, 3, 8), np.ones((4, 3), bool)
    with pytest.warns(KernelFallback, match="the positives are given as a matrix"):
        nats, _ = contrast(here(image), here(text), here(np.float32(2.0)), positives)
    np.testing.assert_allclose(
        nats, contrast.dispatch(object)(image, text, np.float32(2.0), positives)[0], rtol=1e-6
    )


def test_few_pairs_in_float32_take_the_matrix_without_a_word(rungs):
    minivlm_kernels.install(Here)
    rng = np.random.default_rng(6)
    image, text = here(unit(rng, 4, 8)), here(unit(rng, 4, 8))
    nats, _ = contrast(image, text, here(np.float32(2.0)))
    assert nats == contrast.dispatch(object)(image, text, np.float32(2.0))[0]
    assert "their matrix fits" in minivlm_kernels.explain_contrast(image)


def test_a_whole_model_trains_through_the_rungs(rungs):
    plain, ours = tiny_clip(), tiny_clip()
    for parameter in ours.parameters():
        parameter.data = here(parameter.data)
    pixels, ids = tiny_batch(count=3)
    losses = []
    for model in (plain, ours):
        loss = model.loss(pixels, ids)
        loss.backward()
        losses.append(loss.data)
    assert "A5" in rungs
    assert "A4" in rungs
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for theirs, mine in zip(plain.parameters(), ours.parameters(), strict=True):
        np.testing.assert_allclose(mine.grad, theirs.grad, rtol=2e-3, atol=2e-6)


def test_too_little_memory_names_the_shapes_and_leaves_all_usable(rungs, monkeypatch):
    q = here(np.ones((1, 1, 2, 16), np.float32))

    def full(*arguments, **options):
        raise MemoryError("8 bytes are not there")

    with monkeypatch.context() as patch:
        patch.setattr(seams, "attention_rung", lambda name: full)
        with pytest.raises(MemoryError, match=r"q \(1, 1, 2, 16\).*A5 does not fit: 8 bytes"):
            attend(q, q, q)
    assert attend(q, q, q)[0].shape == (1, 1, 2, 16)


def test_arrays_on_two_devices_are_refused():
    q = Tensor(np.ones((1, 1, 2, 4), np.float32))
    k = Tensor(DeviceArray(np.ones((1, 1, 2, 4), np.float32)))
    with pytest.raises(ValueError, match="q is on cpu, k is on cuda, v is on cuda"):
        attention(q, k, k)
    with pytest.raises(ValueError, match="image is on cpu, text is on cuda"):
        info_nce(Tensor(np.ones((2, 4))), Tensor(DeviceArray(np.ones((2, 4)))), Tensor(0.0))


@pytest.mark.parametrize("wrong", [-1, 5])
def test_ids_out_of_range_are_refused_on_a_device_too(wrong):
    table = Tensor(DeviceArray(np.ones((5, 2), np.float32)))
    with pytest.raises(ValueError, match=r"are not all in 0\.\.4"):
        embedding(table, DeviceArray(np.array([0, wrong])))


def test_what_runs_can_be_asked(rungs):
    q = here(np.ones((1, 2, 100, 20), np.float32))
    assert minivlm_kernels.explain_attention(q, q) == (
        "attention of q (1, 2, 100, 20) and k (1, 2, 100, 20): A5 forward, A4 backward "
        "(float32, head size 20)"
    )
    with pytest.raises(InputError, match="no kernels are installed for ndarray"):
        minivlm_kernels.explain_attention(np.ones((1, 1, 1, 1)), q)


def test_after_uninstall_the_reference_runs(rungs):
    minivlm_kernels.uninstall(Here)
    q = here(np.ones((1, 1, 2, 4), np.float32))
    assert isinstance(attend(q, q, q)[0], np.ndarray)
    assert rungs == []


def test_without_cupy_install_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(InputError, match="pip install"):
        minivlm_kernels.install()

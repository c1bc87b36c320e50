"""What each op refuses, and what holds of it whatever the numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.ops.activations import gelu, gelu_tanh, quick_gelu, relu, sigmoid, silu, tanh
from minivlm.ops.attention import attend, attention
from minivlm.ops.contrastive import contrast, info_nce, sigmoid_pairs
from minivlm.ops.convolve import avg_pool2d, conv2d, patches
from minivlm.ops.linear import linear
from minivlm.ops.lookup import dropout, embedding
from minivlm.ops.losses import IGNORE, cross_entropy
from minivlm.ops.normalize import batch_norm, layer_norm, rms_norm, softmax, unit_length
from minivlm.ops.rotary import rotary, rotary_angles
from minivlm.tensor import Tensor

rng = np.random.default_rng(0)


def tensor(*shape, dtype=np.float64):
    return Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)


REFUSED = {
    "linear": (lambda: linear(tensor(2, 3), tensor(4, 5)), "width 3 meet a weight"),
    "layer_norm": (lambda: layer_norm(tensor(2, 3), tensor(4), tensor(4)), "weight of shape"),
    "rms_norm": (lambda: rms_norm(tensor(2, 3), tensor(4)), "weight"),
    "batch_norm": (lambda: batch_norm(tensor(2, 3), tensor(4), tensor(4)), "weight"),
    "softmax": (lambda: softmax(tensor(2, 3), axis=2), "axis 2"),
    "unit_length": (lambda: unit_length(tensor()), "no axis"),
    "attention C": (
        lambda: attention(tensor(1, 1, 2, 3), tensor(1, 1, 2, 4), tensor(1, 1, 2, 4)),
        "3 channels a head, keys 4",
    ),
    "attention S": (
        lambda: attention(tensor(1, 1, 2, 3), tensor(1, 1, 4, 3), tensor(1, 1, 5, 3)),
        "differ in batch, heads or length",
    ),
    "attention B": (
        lambda: attention(tensor(1, 1, 2, 3), tensor(2, 1, 2, 3), tensor(2, 1, 2, 3)),
        "a batch of 1 queries meets a batch of 2 keys",
    ),
    "attention heads": (
        lambda: attention(tensor(1, 3, 2, 3), tensor(1, 2, 4, 3), tensor(1, 2, 4, 3)),
        "2 key heads do not divide 3 query heads",
    ),
    "conv2d channels": (lambda: conv2d(tensor(1, 3, 4, 4), tensor(2, 2, 3, 3)), "3 channels"),
    "conv2d kernel": (lambda: conv2d(tensor(1, 1, 2, 2), tensor(1, 1, 3, 3)), "exceeds picture"),
    "avg_pool2d": (lambda: avg_pool2d(tensor(1, 1, 2, 3), 3), "window of side 3 exceeds"),
    "patches": (lambda: patches(tensor(1, 3, 6, 7), 2), "side 2 do not tile a picture of 6×7"),
    "embedding ids": (lambda: embedding(tensor(3, 2), np.ones(2)), "must be integers, not float"),
    "embedding table": (lambda: embedding(tensor(3), np.ones(2, int)), "table has two axes"),
    "dropout": (lambda: dropout(tensor(3), 1.0, rng), r"rate 1.0 is not in \[0, 1\)"),
    "rotary": (lambda: rotary(tensor(1, 1, 2, 3), *rotary_angles(np.arange(2), 2)), "3 channels"),
    "cross_entropy labels": (
        lambda: cross_entropy(tensor(2, 3), np.zeros(3, int)),
        "do not fit logits",
    ),
    "cross_entropy smoothing": (
        lambda: cross_entropy(tensor(2, 3), np.zeros(2, int), smoothing=2),
        "smoothing 2 is not in",
    ),
    "info_nce width": (lambda: info_nce(tensor(2, 3), tensor(2, 4), tensor()), "are not"),
    "info_nce pairs": (lambda: info_nce(tensor(2, 3), tensor(4, 3), tensor()), "who belongs"),
    "info_nce positives": (
        lambda: info_nce(tensor(2, 3), tensor(4, 3), tensor(), np.ones((2, 3), bool)),
        r"positives \(2, 3\)",
    ),
    "sigmoid_pairs": (
        lambda: sigmoid_pairs(tensor(2, 3), tensor(3, 3), tensor(), tensor()),
        "who belongs",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_with_the_numbers(name):
    call, sentence = REFUSED[name]
    with pytest.raises(ValueError, match=sentence):
        call()


ELEMENTWISE = (relu, sigmoid, tanh, silu, quick_gelu, gelu, gelu_tanh)


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_inputs_neither_overflow_nor_turn_into_nan(op, dtype):
    x = Tensor(np.array([-1e4, -100, -20, 0, 20, 100, 1e4], dtype), requires_grad=True)
    y = op(x)
    y.sum().backward()  # warnings are errors in this suite
    assert np.isfinite(y.data).all()
    assert np.isfinite(x.grad).all()


@given(scale=st.floats(0, 1e4))
def test_softmax_sums_to_one_at_any_scale(scale):
    y = softmax(Tensor(rng.standard_normal((4, 6)) * scale))
    assert (y.data >= 0).all()
    np.testing.assert_allclose(y.data.sum(-1), 1)


def test_layer_norm_of_a_constant_vector_is_its_bias():
    y = layer_norm(Tensor(np.full((2, 4), 7.0)), tensor(4), Tensor(np.arange(4.0)))
    assert y.data.tolist() == [[0, 1, 2, 3]] * 2


def test_a_zero_vector_has_unit_length_zero_and_a_finite_gradient():
    x = Tensor(np.zeros((2, 3)), requires_grad=True)
    y = unit_length(x)
    y.sum().backward()
    assert not y.data.any()
    assert np.isfinite(x.grad).all()


def heads(B, H, T, C, G=None, S=None):
    G, S = G or H, S or T
    return tensor(B, H, T, C), tensor(B, G, S, C), tensor(B, G, S, C)


def test_masked_keys_have_no_influence_and_no_gradient():
    q, k, v = heads(2, 2, 3, 4, S=5)
    mask = np.array([True, True, False, True, False])
    y = attention(q, k, v, mask)
    y.sum().backward()
    assert not k.grad[:, :, [2, 4]].any()
    assert not v.grad[:, :, [2, 4]].any()
    shown = [Tensor(x.data[:, :, [0, 1, 3]]) for x in (k, v)]
    np.testing.assert_allclose(y.data, attention(q, *shown).data)


@given(sizes=st.tuples(*[st.integers(1, 6)] * 2))
def test_causal_queries_are_aligned_at_the_end_and_see_nothing_ahead(sizes):
    T, S = sizes
    q, k, v = heads(1, 1, T, 4, S=S)
    y = attention(q, k, v, causal=True)
    for t in range(T):
        seen = S - T + t + 1
        if seen <= 0:
            assert not y.data[:, :, t].any()
        else:
            alone = attention(
                Tensor(q.data[:, :, [t]]), *(Tensor(x.data[:, :, :seen]) for x in (k, v))
            )
            np.testing.assert_allclose(y.data[:, :, t], alone.data[:, :, 0])


def test_a_query_that_may_look_nowhere_gets_zeros_and_gives_no_gradient():
    q, k, v = heads(2, 1, 3, 4)
    mask = np.ones((2, 1, 3, 3), bool)
    mask[0, :, 1] = False
    mask[1] = False
    y = attention(q, k, v, mask)
    y.sum().backward()
    assert not y.data[0, :, 1].any()
    assert not y.data[1].any()
    for x in (q, k, v):
        assert np.isfinite(x.grad).all()
        assert not x.grad[1].any()
    assert not q.grad[0, :, 1].any()


def test_grouped_queries_are_repeated_keys():
    q, k, v = heads(2, 6, 3, 4, G=2, S=5)
    repeated = [Tensor(np.repeat(x.data, 3, axis=1)) for x in (k, v)]
    np.testing.assert_allclose(
        attention(q, k, v, causal=True).data, attention(q, *repeated, causal=True).data
    )


def test_large_scores_are_safe():
    q, k, v = (Tensor(x.data.astype(np.float32) * 1e4) for x in heads(1, 1, 4, 8))
    assert np.isfinite(attention(q, k, v).data).all()


def test_the_array_halves_are_seams_for_other_types_of_array():
    class Elsewhere(np.ndarray):
        pass

    def answers(*args):
        return "from elsewhere"

    for seam, count in ((attend, 3), (contrast, 3)):
        reference = seam.dispatch(object)
        seam.register(Elsewhere, answers)
        try:
            assert seam(*[np.zeros((1, 1)).view(Elsewhere)] * count) == "from elsewhere"
            assert seam.dispatch(np.ndarray) is reference
        finally:
            seam._clear_cache()
            seam.register(Elsewhere, reference)


def test_a_convolution_whose_stride_is_its_kernel_is_a_linear_map_of_patches():
    x, weight = tensor(2, 3, 4, 6), tensor(5, 3, 2, 2)
    by_patches = linear(patches(x, 2), weight.reshape(5, -1))
    expected = conv2d(x, weight, stride=2).data.reshape(2, 5, -1)
    np.testing.assert_allclose(by_patches.data.transpose(0, 2, 1), expected)


def test_rotary_angles_are_positions_times_a_falling_speed():
    cos, sin = rotary_angles(np.array([0, 3]), 4, base=100.0, dtype=np.float64)
    np.testing.assert_allclose(cos, [[1, 1], [math.cos(3), math.cos(0.3)]])
    np.testing.assert_allclose(sin, [[0, 0], [math.sin(3), math.sin(0.3)]])
    assert rotary_angles(np.arange(2), 4)[0].dtype == np.float32


@pytest.mark.parametrize(("height", "width"), [(4, 2), (2, 4)])
def test_a_kernel_may_just_fit_and_no_more(height, width):
    x = tensor(1, 1, 2, 2)
    assert conv2d(x, tensor(1, 1, height, width), padding=1).shape == (1, 1, 5 - height, 5 - width)
    larger = tensor(1, 1, height + (height == 4), width + (width == 4))
    with pytest.raises(ValueError, match="exceeds picture"):
        conv2d(x, larger, padding=1)


def test_rotary_keeps_lengths_and_sees_only_distances():
    q, k = rng.standard_normal((2, 1, 1, 1, 8))

    def product(m, n):
        turned = [
            rotary(Tensor(x), *rotary_angles(np.array([p]), 8, dtype=np.float64)).data
            for x, p in ((q, m), (k, n))
        ]
        np.testing.assert_allclose(np.linalg.norm(turned[0]), np.linalg.norm(q))
        return (turned[0] * turned[1]).sum()

    assert product(3, 1) == pytest.approx(product(12, 10))
    assert product(3, 1) != pytest.approx(product(3, 2))


def test_dropout_keeps_the_mean_and_repeats_with_its_seed():
    x = Tensor(np.ones(10_000, np.float32))
    one, two = (dropout(x, 0.25, np.random.default_rng(3)).data for _ in range(2))
    assert np.array_equal(one, two)
    assert one.mean() == pytest.approx(1, abs=0.03)
    assert (one == 0).mean() == pytest.approx(0.25, abs=0.02)


def test_ignored_labels_count_neither_in_the_loss_nor_in_the_gradient():
    x = tensor(4, 5)
    labels = np.array([1, IGNORE, 3, IGNORE])
    loss = cross_entropy(x, labels)
    loss.backward()
    assert loss.item() == cross_entropy(Tensor(x.data[[0, 2]]), labels[[0, 2]]).item()
    assert not x.grad[[1, 3]].any()


def test_where_no_label_counts_the_loss_is_zero():
    x = tensor(2, 5)
    loss = cross_entropy(x, np.full(2, IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()


def test_a_blind_guess_costs_the_logarithm_of_the_choices():
    equal = Tensor(np.ones((8, 4)) / 2)
    assert info_nce(equal, equal, Tensor(np.zeros(()))).item() == pytest.approx(math.log(8))
    assert cross_entropy(Tensor(np.zeros((3, 8))), np.arange(3)).item() == pytest.approx(
        math.log(8)
    )


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 1e4])
def test_contrastive_losses_are_finite_at_any_scale(scale):
    log_scale = Tensor(np.array(np.log(np.maximum(scale, 1e-30)), np.float32), requires_grad=True)
    bias = Tensor(np.array(-10, np.float32), requires_grad=True)
    for loss_of, more in ((info_nce, ()), (sigmoid_pairs, (bias,))):
        pair = [unit_length(tensor(6, 4, dtype=np.float32)) for _ in range(2)]
        loss = loss_of(*pair, log_scale, *more)
        loss.backward()
        assert np.isfinite(loss.item())
        assert np.isfinite(log_scale.grad)
        log_scale.grad = None


def test_the_gradient_of_sigmoid_pairs_keeps_its_digits_where_all_is_clear():
    values = [rng.standard_normal((6, 4)), rng.standard_normal((6, 4)), np.array(0.0)]
    none_belong = np.zeros((6, 6), bool)  # every pair is a clear no, of probability e⁻³⁰
    grads = []
    for dtype in (np.float32, np.float64):
        inputs = [Tensor(x.astype(np.float32).astype(dtype), True) for x in values]
        bias = Tensor(np.array(-30, dtype), requires_grad=True)
        sigmoid_pairs(*inputs, bias, positives=none_belong).backward()
        grads.append([x.grad for x in (*inputs, bias)])
    for ours, exact in zip(*grads, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())


def test_positives_on_the_diagonal_are_the_default():
    image, text, log_scale = tensor(5, 3), tensor(5, 3), tensor()
    default = info_nce(image, text, log_scale).item()
    assert info_nce(image, text, log_scale, np.eye(5, dtype=bool)).item() == default

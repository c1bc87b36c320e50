"""C1 to C3: the N×N losses by Numba kernels, held to the library's own bodies in float64."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivlm_kernels.arrays import F32, poisoned_outputs
from minivlm_kernels.contrastive import c1_dense, c2_streaming, c3_streaming_backward
from tests.kernels.oracles import double, info_nce
from tests.kernels.pairs import (
    all_right,
    batch,
    calls,
    close,
    digits_lost,
    gradients_right,
    one,
    right_lses,
    run,
    sigmoid_gradients_right,
    sigmoid_loss,
)

RUNGS = [c1_dense, c2_streaming, c3_streaming_backward]
forward_rungs = pytest.mark.parametrize("rung", [c1_dense, c2_streaming])
backward_rungs = pytest.mark.parametrize("rung", [c1_dense, c3_streaming_backward])


@pytest.fixture(autouse=True, scope="module")
def _poisoned():
    with poisoned_outputs():
        yield


@st.composite
def batches(draw):
    """Image, text, scale and a tile: less than one tile or a few, full at the edges or not."""
    tile = draw(st.sampled_from([2, 4]))
    N, E = draw(st.integers(1, 3 * tile + 1)), draw(st.integers(1, 2 * tile + 1))
    scale = draw(st.just(0.0) | st.floats(0.01, 100))
    image, text = batch(N, E, draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(["random", "duplicates", "one-hot", "all equal", "opposite"]))
    if kind == "duplicates":
        image, text = image[np.arange(N) // 2], text[np.arange(N) // 3]
    elif kind == "one-hot":
        image = text = np.eye(max(N, E), dtype=F32)[:N, :E].copy()
    elif kind == "all equal":
        image[:] = text[:] = image[0]
    elif kind == "opposite":
        image[:] = image[0]
        text[:] = -image[0]
    return image, text, one(scale), tile


@forward_rungs
@given(batches())
@settings(max_examples=20)
def test_the_loss_and_its_log_sum_exps_are_right(rung, example):
    image, text, scale, tile = example
    got, row_lse, col_lse = run(rung.forward, image, text, scale, tile=tile)
    nats, rows, columns, *_ = info_nce(image, text, scale[0])
    rounding = 1e-7 * scale[0]  # of the largest logit there can be
    assert (abs(row_lse - rows) <= 2e-6 * np.maximum(1, abs(rows)) + rounding).all()
    assert (abs(col_lse - columns) <= 2e-6 * np.maximum(1, abs(columns)) + rounding).all()
    assert abs(got - nats) <= 2e-6 * max(1, nats) + rounding
    assert got >= 0


@backward_rungs
@given(batches())
@settings(max_examples=15)
def test_the_gradients_are_right(rung, example):
    image, text, scale, tile = example
    lses = right_lses(image, text, scale)
    assert gradients_right(
        run(rung.backward, image, text, scale, *lses, tile=tile), image, text, scale
    )


@forward_rungs
@given(batches(), st.floats(-20, 5).map(one))
@settings(max_examples=15)
def test_the_sigmoid_loss_is_right(rung, example, bias):
    image, text, scale, tile = example
    (got,) = run(rung.sigmoid_forward, image, text, scale, bias, tile=tile)
    logits = scale * double(image) @ double(text).T + bias
    assert close(got, sigmoid_loss(image, text, scale, bias)[0], 5e-6 * digits_lost(logits))


@backward_rungs
@given(batches(), st.floats(-20, 5).map(one))
@settings(max_examples=15)
def test_the_gradients_of_the_sigmoid_loss_are_right(rung, example, bias):
    image, text, scale, tile = example
    got = run(rung.sigmoid_backward, image, text, scale, bias, tile=tile)
    assert sigmoid_gradients_right(got, image, text, scale, bias)


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize(("N", "E"), [(1, 1), (1, 5), (3, 4), (4, 3), (5, 5), (8, 8), (11, 7)])
def test_sizes_around_the_tile_are_right(rung, N, E):
    assert all_right(rung, *batch(N, E), one(20), one(-3), tile=4)


def test_a_gradient_that_is_wrong_by_a_thousandth_is_seen():
    image, text = batch(5, 3)
    scale, bias = one(20), one(-3)
    right = info_nce(image, text, scale[0])[3:]
    assert gradients_right(right, image, text, scale)
    for n in range(3):
        wrong = [1.001 * x if m == n else x for m, x in enumerate(right)]
        assert not gradients_right(wrong, image, text, scale)
    right = sigmoid_loss(image, text, scale, bias)[1:]
    assert sigmoid_gradients_right(right, image, text, scale, bias)
    for n in range(4):
        wrong = [1.001 * x if m == n else x for m, x in enumerate(right)]
        assert not sigmoid_gradients_right(wrong, image, text, scale, bias)
    assert not close(np.array([math.nan]), np.zeros(1), 1)


@forward_rungs
@pytest.mark.parametrize("N", [1, 2, 7])
def test_without_a_scale_every_choice_is_a_guess(rung, N):
    image, text = batch(N, 3)
    nats, row_lse, col_lse = run(rung.forward, image, text, one(0), tile=2)
    for x in (nats, row_lse, col_lse):
        assert x == pytest.approx(math.log(N), abs=1e-6)


@forward_rungs
def test_a_row_of_logits_far_below_zero_has_a_log_sum_exp(rung):
    image, _ = batch(5, 3)
    image[:] = image[0]
    nats, row_lse, col_lse = run(rung.forward, image, -image, one(500), tile=2)
    assert row_lse == pytest.approx(-500 + math.log(5), rel=1e-6)
    assert col_lse == pytest.approx(-500 + math.log(5), rel=1e-6)
    assert nats == pytest.approx(math.log(5), abs=1e-4)


@forward_rungs
@pytest.mark.parametrize("scale", [1e3, 1e6, 1e12])
def test_no_scale_overflows_forward(rung, scale):
    image, text = batch(5, 3)
    nats, row_lse, col_lse = run(rung.forward, image, text, one(scale), tile=2)
    expected = info_nce(image, text, one(scale)[0])
    for got, right in zip((nats, row_lse, col_lse), expected, strict=False):
        assert (abs(got - right) <= 1e-6 * scale).all()
    for sign in (1, -1):
        (nats,) = run(rung.sigmoid_forward, image, text, one(scale), one(sign * scale), tile=2)
        right, *_ = sigmoid_loss(image, text, one(scale), one(sign * scale))
        assert nats == pytest.approx(right, rel=1e-5)


@backward_rungs
@pytest.mark.parametrize("scale", [1e3, 1e6, 1e12])
def test_no_scale_overflows_backward(rung, scale):
    """At these scales each choice is made for certain: one pair of a row has all of it."""
    image, text = np.eye(5, dtype=F32), np.eye(5, dtype=F32)[[1, 0, 2, 3, 4]]
    lses = right_lses(image, text, one(scale))
    got = run(rung.backward, image, text, one(scale), *lses, tile=2)
    assert gradients_right(got, image, text, one(scale))
    got = run(rung.sigmoid_backward, image, text, one(scale), one(-scale / 2), tile=2)
    assert sigmoid_gradients_right(got, image, text, one(scale), one(-scale / 2))


def test_how_many_blocks_share_the_rows_does_not_matter():
    image, text = batch(13, 5)
    alone = run(c2_streaming.forward, image, text, one(30), tile=2, blocks=1)
    for blocks in (2, 3, 7, 100):
        shared = run(c2_streaming.forward, image, text, one(30), tile=2, blocks=blocks)
        assert (shared[1] == alone[1]).all()  # a row is one block's, whichever
        assert shared[2] == pytest.approx(alone[2], abs=1e-5)
        assert shared[0] == pytest.approx(alone[0], abs=1e-5)


@forward_rungs
def test_images_and_texts_play_the_same_part_in_the_loss(rung):
    image, text = batch(7, 3)
    nats, row_lse, col_lse = run(rung.forward, image, text, one(20), tile=2)
    swapped = run(rung.forward, text, image, one(20), tile=2)
    for got, right in zip(swapped, (nats, col_lse, row_lse), strict=True):
        assert got == pytest.approx(right, abs=1e-5)


@backward_rungs
def test_images_and_texts_play_the_same_part_in_the_gradients(rung):
    image, text = batch(7, 3)
    row_lse, col_lse = right_lses(image, text, one(20))
    got = run(rung.backward, image, text, one(20), row_lse, col_lse, tile=2)
    swapped = run(rung.backward, text, image, one(20), col_lse, row_lse, tile=2)
    for n, m in enumerate((1, 0, 2)):
        assert swapped[m] == pytest.approx(got[n], rel=1e-4, abs=1e-5)


@backward_rungs
def test_the_gradient_for_the_scale_is_the_slope_of_the_loss(rung):
    image, text = batch(7, 3)
    scale, bias, h = 20.0, -3.0, 1e-5
    up, down = scale * math.exp(h), scale * math.exp(-h)
    slope = (info_nce(image, text, up)[0] - info_nce(image, text, down)[0]) / (2 * h)
    *_, got = run(
        rung.backward, image, text, one(scale), *right_lses(image, text, one(scale)), tile=2
    )
    assert got == pytest.approx(slope, rel=1e-5)

    def loss_at(scale, bias):
        return sigmoid_loss(image, text, [scale], [bias])[0]

    *_, got, d_bias = run(rung.sigmoid_backward, image, text, one(scale), one(bias), tile=2)
    slope = (loss_at(up, bias) - loss_at(down, bias)) / (2 * h)
    assert got == pytest.approx(slope, rel=1e-5)
    slope = (loss_at(scale, bias + h) - loss_at(scale, bias - h)) / (2 * h)
    assert d_bias == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("rung", RUNGS)
def test_the_same_inputs_give_the_same_bits(rung):
    image, text = batch(7, 5)
    lses = right_lses(image, text, one(30))
    for function, inputs in calls(rung, image, text, one(30), one(-5), lses):
        first, second = (run(function, *inputs, tile=4) for _ in range(2))
        assert all((a == b).all() for a, b in zip(first, second, strict=True))

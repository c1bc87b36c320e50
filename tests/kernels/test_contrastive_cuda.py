"""C4 and C5: the N×N losses by tensor cores, held to the library's own bodies in float64."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minivlm_kernels.arrays import BF16, F32, poisoned_outputs
from minivlm_kernels.contrastive import cuda
from minivlm_kernels.cuda.cpu import schedule
from tests.kernels.oracles import double, info_nce
from tests.kernels.pairs import all_close, batch, close, one, right_lses, run, sigmoid_loss

SCHEDULES = 0, 1, 7
TOLERANCES = (
    4e-3,
    4e-3,
    1e-4,
    1e-4,
)  # slopes are rounded to bfloat16, but not before they are summed


@pytest.fixture(autouse=True, scope="module")
def _poisoned():
    with poisoned_outputs():
        yield


class Pairs(NamedTuple):
    """What the rungs are given, and how they are to go about it."""

    image: np.ndarray
    text: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    blocks: int
    chunk: int

    @property
    def logits(self):
        return double(self.scale) * double(self.image) @ double(self.text).T


def pairs(N, E, scale=14.0, bias=-3.0, blocks=2, chunk=1024, kind="random", seed=0):
    image, text = batch(N, E, seed)
    if kind == "duplicates":
        image, text = image[np.arange(N) // 2], text[np.arange(N) // 3]
    elif kind == "one-hot":
        image = text = np.eye(max(N, E), dtype=F32)[:N, :E].copy()
    elif kind == "opposite":
        text = -image
    elif kind == "all equal":
        image[:] = text[:] = image[0]
    return Pairs(image.astype(BF16), text.astype(BF16), one(scale), one(bias), blocks, chunk)


@st.composite
def batches(draw):
    """Around one tile of 128×256, less than one, and some, whole or not in either direction."""
    N = draw(st.sampled_from([1, 2, 31, 127, 128, 129, 199, 255, 256, 257, 283, 307, 390]))
    E = draw(st.sampled_from([1, 8, 12, 24, 32, 40, 63, 64, 72] + [200, 512, 520] * (N < 150)))
    return pairs(
        N,
        E,
        scale=draw(st.just(0.0) | st.floats(0.01, 100)),
        bias=draw(st.floats(-20, 5)),
        blocks=draw(st.integers(1, 3)),
        chunk=draw(st.sampled_from([100, 128, 256, 300, 1024])),
        kind=draw(st.sampled_from(["random", "duplicates", "one-hot", "opposite", "all equal"])),
        seed=draw(st.integers(0, 99)),
    )


schedules = st.sampled_from(SCHEDULES)


def info_nce_slopes(given):
    """Of the loss along each logit."""
    _, rows, columns, *_ = info_nce(given.image, given.text, given.scale[0])
    p = np.exp(given.logits - rows[:, None]) + np.exp(given.logits - columns)
    return (p / 2 - np.eye(len(p))) / len(p)


def sigmoid_slopes(given):
    chance = np.exp(-np.logaddexp(0, -given.logits - given.bias))
    return (chance - np.eye(len(chance))) / len(chance)


def lse_right(got, expected, scale):
    """A logit's error in float32 grows with it."""
    return (abs(got - expected) <= 2e-6 * np.maximum(1, abs(expected)) + 2e-7 * scale).all()


def gradients_right(got, expected, slopes, given):
    """Beside how far pairs pull at each embedding, in all directions together."""
    along = abs(slopes) * given.scale
    pulls = np.linalg.norm(along.sum(1)), np.linalg.norm(along.sum(0))
    sizes = *pulls, np.sum(abs(slopes * given.logits)), np.sum(abs(slopes))
    checks = zip(got, expected, TOLERANCES, sizes, strict=False)  # InfoNCE has no bias
    return all(close(g, x, tolerance, size) for g, x, tolerance, size in checks)


def test_what_is_a_little_wrong_is_not_right():
    given = pairs(60, 16)
    _, rows, _, *expected = info_nce(given.image, given.text, given.scale[0])
    assert lse_right(rows * (1 + 1e-7), rows, 14)
    assert not lse_right(rows + 1e-3, rows, 14)
    assert gradients_right(expected, expected, info_nce_slopes(given), given)
    for wrong in range(3):
        got = [1.03 * x if n == wrong else x for n, x in enumerate(expected)]
        assert not gradients_right(got, expected, info_nce_slopes(given), given)


@given(batches(), schedules)
@settings(max_examples=20)
@example(pairs(390, 40, scale=100.0, blocks=1), 0)
@example(pairs(129, 520), 7)
def test_the_loss_and_its_log_sum_exps_are_right(given, order):
    image, text, scale, _, blocks, _ = given
    with schedule(order):
        nats, row_lse, col_lse = run(cuda.forward, image, text, scale, blocks=blocks)
    right, rows, columns, *_ = info_nce(image, text, scale[0])
    assert lse_right(nats, right, scale)
    assert lse_right(row_lse, rows, scale)
    assert lse_right(col_lse, columns, scale)
    assert nats >= 0


@given(batches(), schedules)
@settings(max_examples=20)
@example(pairs(390, 40, scale=100.0, blocks=1, chunk=300), 0)
@example(pairs(129, 520), 7)
@example(pairs(1, 8, scale=100.0, kind="opposite"), 0)
def test_the_gradients_are_right(given, order):
    image, text, scale, _, blocks, chunk = given
    lses = right_lses(image, text, scale)
    with schedule(order):
        got = run(cuda.backward, image, text, scale, *lses, blocks=blocks, chunk=chunk)
    _, _, _, *expected = info_nce(image, text, scale[0])
    assert gradients_right(got, expected, info_nce_slopes(given), given)


@given(batches(), schedules)
@settings(max_examples=12)
@example(pairs(257, 24, scale=30.0, bias=-30.0), 0)
def test_the_sigmoid_loss_is_right(given, order):
    image, text, scale, bias, blocks, _ = given
    with schedule(order):
        (nats,) = run(cuda.sigmoid_forward, image, text, scale, bias, blocks=blocks)
    right, *_ = sigmoid_loss(image, text, scale, bias)
    assert close(nats, right, 2e-6 * max(1, (scale[0] - bias[0]) / 10))


@given(batches(), schedules)
@settings(max_examples=12)
@example(pairs(390, 40, scale=100.0, blocks=1, chunk=300), 0)
@example(pairs(1, 8, scale=100.0, kind="opposite"), 0)
def test_the_gradients_of_the_sigmoid_loss_are_right(given, order):
    image, text, scale, bias, blocks, chunk = given
    with schedule(order):
        got = run(cuda.sigmoid_backward, image, text, scale, bias, blocks=blocks, chunk=chunk)
    _, *expected = sigmoid_loss(image, text, scale, bias)
    assert gradients_right(got, expected, sigmoid_slopes(given), given)


def everything(given, order=0):
    """All results of all four functions."""
    image, text, scale, bias, blocks, chunk = given
    options = {"blocks": blocks, "chunk": chunk}
    with schedule(order):
        nats, *lses = run(cuda.forward, image, text, scale, blocks=blocks)
        gradients = run(cuda.backward, image, text, scale, *lses, **options)
        loss = run(cuda.sigmoid_forward, image, text, scale, bias, blocks=blocks)
        pulls = run(cuda.sigmoid_backward, image, text, scale, bias, **options)
    return [nats, *lses, *gradients, *loss, *pulls]


def test_the_same_bits_come_out_each_time():
    given = pairs(300, 72, blocks=2, chunk=200)
    first, *others = (everything(given, order) for order in (0, 0, 1, 7, 8))
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_how_the_work_is_shared_does_not_matter():
    given = pairs(390, 24)
    first = everything(given)
    for blocks, chunk in ((1, 1024), (3, 390), (4, 128), (2, 100), (1, 7)):
        other = everything(given._replace(blocks=blocks, chunk=chunk))
        assert all_close(other, first, 1e-5, (0.1,) * len(first))


def test_images_and_texts_change_places():
    given = pairs(270, 40, scale=20.0)
    ours = everything(given)
    theirs = everything(given._replace(image=given.text, text=given.image))
    nats, rows, columns, d_image, d_text, d_log_scale, loss, *sigmoid = theirs
    d_bias = sigmoid[3]
    swapped = [nats, columns, rows, d_text, d_image, d_log_scale]
    swapped += [loss, sigmoid[1], sigmoid[0], sigmoid[2], d_bias]
    assert all_close(swapped, ours, 4e-3, (0,) * len(ours))
    assert all_close(swapped[:3], ours[:3], 1e-6, (0,) * 3)


@pytest.mark.parametrize("N", [1, 130])
def test_without_a_scale_every_choice_is_a_guess(N):
    given = pairs(N, 16, scale=0.0, bias=0.0)
    nats, _, _, d_image, d_text, _, loss, *_ = everything(given)
    assert close(nats, math.log(N), 1e-6, 1)
    assert close(loss, N * math.log(2), 1e-6)
    assert not d_image.any()
    assert not d_text.any()


def test_the_loss_falls_as_its_gradient_says():
    image, text, scale, bias, *_ = pairs(150, 32, scale=8.0)
    _, *lses = run(cuda.forward, image, text, scale)
    *_, d_log_scale = run(cuda.backward, image, text, scale, *lses)
    step = 0.01
    up, down = (
        run(cuda.forward, image, text, one(scale[0] * math.exp(s)))[0] for s in (step, -step)
    )
    assert close((up - down) / (2 * step), d_log_scale, 1e-3)
    *_, d_bias = run(cuda.sigmoid_backward, image, text, scale, bias)
    up, down = (
        run(cuda.sigmoid_forward, image, text, scale, bias + F32.type(s))[0] for s in (step, -step)
    )
    assert close((up - down) / (2 * step), d_bias, 1e-3)


@pytest.mark.parametrize(("N", "kind"), [(140, "random"), (1, "opposite")])
def test_logits_may_be_far_apart_and_far_below_0(N, kind):
    image, text, scale, *_ = pairs(N, 16, scale=30000.0, kind=kind)
    nats, row_lse, col_lse = run(cuda.forward, image, text, scale)
    right, rows, columns, *expected = info_nce(image, text, scale[0])
    assert close(nats, right, 1e-6)
    assert close(row_lse, rows, 1e-6)
    assert close(col_lse, columns, 1e-6)
    got = run(cuda.backward, image, text, scale, row_lse, col_lse)
    assert all_close(got, expected, 0.05, (scale[0] / math.sqrt(N),) * 3)

"""Rungs A1 to A4 are the library's own attention, at any sizes and at the edges."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivlm_kernels.attention import a1_naive, a2_tiled, a3_flash, a4_flash_backward
from tests.kernels.numba_attention import (
    backward,
    cases,
    check_backward,
    check_forward,
    every_rung,
    forward,
    forward_rungs,
    results,
    some,
)
from tests.kernels.places import normal, place


@pytest.mark.parametrize("rung", [a1_naive, a3_flash], ids=lambda rung: rung.RUNG)
@settings(max_examples=100)
@given(case=cases(), tile=st.integers(3, 5))
def test_forward_is_the_attention_of_the_library(rung, case, tile):
    check_forward(rung, *case, tile=tile)


@settings(max_examples=25)
@given(case=cases(), tile=st.integers(2, 3))
def test_forward_by_three_kernels_is_the_attention_of_the_library(case, tile):
    check_forward(a2_tiled, *case, tile=tile)


@settings(max_examples=100)
@given(case=cases(), tile=st.integers(3, 5), seed=st.integers(0, 9))
def test_backward_gives_the_gradients_of_the_library(case, tile, seed):
    q, k, v, mask, causal = case
    do = normal(np.random.default_rng(seed), *q.shape)
    check_backward(a4_flash_backward, q, k, v, do, mask, causal, tile=tile)


def test_the_checks_see_one_wrong_number_and_one_that_was_not_written():
    class Wrong:
        RUNG = "wrong"

        def __init__(self, error):
            self.error = error

        def forward(self, *given, **options):
            o, lse = a3_flash.forward(*given, **options)
            o[0, 1, 2, 3] += self.error
            return o, lse

        def backward(self, *given, **options):
            gradients = a4_flash_backward.backward(*given, **options)
            gradients[1][0, 0, 2, 3] += self.error
            return gradients

    q, k, v, do = some()
    for error in (1e-3, np.nan):
        with pytest.raises(AssertionError):
            check_forward(Wrong(error), q, k, v)
        with pytest.raises(AssertionError):
            check_backward(Wrong(error), q, k, v, do)
    check_forward(Wrong(0), q, k, v)
    check_backward(Wrong(0), q, k, v, do)


@forward_rungs
def test_scores_too_large_for_exp_are_fine(rung):
    q, k, v, do = some()
    mask = np.ones((6, 9), bool)
    mask[2] = False
    check_forward(rung, 1e4 * q, k, v, mask)
    check_forward(rung, 1e4 * q, k - 30, v, mask)
    if rung is a3_flash:
        check_backward(a4_flash_backward, 1e4 * q, k, v, do, mask)


@every_rung
def test_who_sees_nothing_and_what_no_one_sees_get_zeros(rung):
    q, k, v, do = some(T=9, S=6)  # causal: the first three queries come before all keys
    mask = np.ones((9, 6), bool)
    mask[6] = mask[:, 4] = False
    if rung is a4_flash_backward:
        dq, dk, dv = backward(rung, q, k, v, do, mask, True)
        np.testing.assert_array_equal(dq[:, :, [0, 1, 2, 6]], 0)
        np.testing.assert_array_equal(dk[:, :, 4], 0)
        np.testing.assert_array_equal(dv[:, :, 4], 0)
        return
    o, lse = forward(rung, q, k, v, mask, True)
    np.testing.assert_array_equal(o[:, :, [0, 1, 2, 6]], 0)
    np.testing.assert_array_equal(lse[:, :, [0, 1, 2, 6]], -np.inf)
    assert np.all(np.isfinite(np.delete(lse, [0, 1, 2, 6], axis=2)))


@forward_rungs
def test_a_mask_may_be_a_view(rung):
    q, k, v, _ = some()
    mask = np.random.default_rng(2).random((9, 12)) < 0.5
    check_forward(rung, q, k, v, mask.T[::2])


@every_rung
def test_the_tiles_of_a_gpu_are_the_default(rung):
    given = some(H=1, T=2, S=3, C=2)
    default, small = results(rung, *given, tile=None), results(rung, *given)
    for one, other in zip(default, small, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_two_tiles_fit_into_shared_memory():
    assert all(2 * a3_flash.tile_for(C) * C * 4 <= 48 * 1024 for C in range(1, 129))


def wrong(**changes):
    """Arrays that fit together, but for the changes; o, lse and do are for A4 alone."""
    q, k, v, do = some(H=4, G=2, T=3, S=5)
    given = {"q": q, "k": k, "v": v, "o": q.copy(), "lse": q[..., 0].copy(), "do": do, "mask": None}
    given |= {name: change(given[name]) for name, change in changes.items()}
    return {name: x if x is None else place(x) for name, x in given.items()}


REFUSALS = [
    ({"k": lambda k: k.astype(np.float64)}, "takes float32 arrays, and k is float64"),
    ({"v": lambda v: v.mT.copy().mT}, r"takes contiguous arrays, and v \(1, 2, 5, 4\) has strides"),
    ({"k": lambda k: k[:, :, 1:].copy()}, r"k \(1, 2, 4, 4\) and v \(1, 2, 5, 4\) are not"),
    ({"q": lambda q: q[:, :3].copy()}, "2 key heads do not divide 3 query heads"),
    (
        {name: lambda x: np.zeros((*x.shape[:3], 129), np.float32) for name in "qkv"},
        "takes head sizes 1, 2, … 128, not 129",
    ),
    ({"mask": lambda _: np.ones((3, 5), np.float32)}, "a mask holds booleans, not float32"),
    (
        {"mask": lambda _: np.ones((2, 1, 3, 5), bool)},
        r"a mask \(2, 1, 3, 5\) does not broadcast to \(1, 4, 3, 5\)",
    ),
]


@every_rung
@pytest.mark.parametrize(("changes", "sentence"), REFUSALS)
def test_what_a_rung_does_not_take_is_refused_in_a_sentence(rung, changes, sentence):
    function = rung.backward if rung is a4_flash_backward else rung.forward
    names = inspect.signature(function).parameters
    given = {name: x for name, x in wrong(**changes).items() if name in names}
    with pytest.raises(ValueError, match=sentence):
        function(**given)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"do": lambda do: do[:, :, 1:].copy()},
            r"do \(1, 4, 2, 4\) .* do not fit q \(1, 4, 3, 4\)",
        ),
        ({"o": lambda o: o[..., 1:].copy()}, r"o \(1, 4, 3, 3\)"),
        ({"lse": lambda lse: lse[:, 1:].copy()}, r"lse \(1, 3, 3\)"),
        ({"lse": lambda lse: lse.astype(np.float64)}, "lse is float64"),
    ],
)
def test_backward_refuses_what_does_not_come_from_its_forward(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        a4_flash_backward.backward(**wrong(**changes))

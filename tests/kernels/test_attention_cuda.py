"""Rungs A5 to A8 are the library's own attention, at any sizes, at the edges, in any order."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivlm_kernels.arrays import BF16, F32
from minivlm_kernels.cuda import cpu
from tests.kernels import cuda_attention, oracles
from tests.kernels.conftest import ON_GPU
from tests.kernels.cuda_attention import (
    A5,
    A6,
    A7,
    A8,
    HEADS,
    SCHEDULES,
    SOURCES,
    backward,
    cases,
    check_backward,
    check_forward,
    compile_side_by_side,
    forward,
    forward_rungs,
    on_the_cpu,
    right_gradients,
    runs_cuda,
    some,
)

pytestmark = runs_cuda


@pytest.fixture(autouse=True, scope="module")
def _compiled():
    if not ON_GPU:
        compile_side_by_side(*((SOURCES[rung], C) for rung, heads in HEADS.items() for C in heads))


@settings(max_examples=80)
@given(case=cases(HEADS[A5], F32), order=st.sampled_from(SCHEDULES))
def test_register_tiles_give_the_attention_of_the_library(case, order):
    q, k, v, _, mask, causal = case
    with cpu.schedule(order):
        check_forward(A5, q, k, v, mask, causal)


@settings(max_examples=80)
@given(case=cases(HEADS[A6], BF16), order=st.sampled_from(SCHEDULES))
def test_tensor_cores_give_the_attention_of_the_library(case, order):
    q, k, v, _, mask, causal = case
    with cpu.schedule(order):
        check_forward(A6, q, k, v, mask, causal)


@settings(max_examples=100)
@given(case=cases(HEADS[A7], BF16), order=st.sampled_from(SCHEDULES))
def test_pipelined_tensor_cores_give_the_attention_of_the_library(case, order):
    q, k, v, _, mask, causal = case
    with cpu.schedule(order):
        check_forward(A7, q, k, v, mask, causal)


@settings(max_examples=100)
@given(case=cases(HEADS[A8], BF16), order=st.sampled_from(SCHEDULES))
def test_backward_gives_the_gradients_of_the_library(case, order):
    with cpu.schedule(order):
        check_backward(*case)


def test_the_gradients_that_backward_is_held_to_are_the_librarys_where_o_is_not_rounded():
    q, k, v, do = some(A8, H=4, G=2)
    mask = np.random.default_rng(1).random((70, 140)) < 0.5
    mask[3] = False
    o, lse = oracles.attention(q, k, v, mask, True)
    ours = right_gradients(q, k, v, o, lse, do, mask, True)
    for got, right in zip(ours, oracles.attention_gradients(q, k, v, do, mask, True), strict=True):
        np.testing.assert_allclose(got, right, atol=1e-12)


def test_backward_after_forward_gives_the_gradients_of_the_library():
    q, k, v, do = some(A8, H=4, G=2)
    o, lse = forward(A7, q, k, v, causal=True)
    got = backward(q, k, v, o, lse, do, causal=True)
    right = oracles.attention_gradients(q, k, v, do, None, True)
    norm = math.hypot(*(np.linalg.norm(gradient) for gradient in right))
    for ours, theirs in zip(got, right, strict=True):
        assert np.linalg.norm(oracles.double(ours) - theirs) < 6e-3 * norm


def test_the_checks_see_one_wrong_number_and_one_that_was_not_written(monkeypatch):
    q, k, v, do = some(A6)

    def wrong(error):
        def rung(*given, **options):
            o, lse = A6(*given, **options)
            o[0, 1, 2, :3] += BF16.type(error)
            return o, lse

        return rung

    def wrong_backward(error):
        def rung(*given, **options):
            gradients = A8(*given, **options)
            gradients[1][0, 0, 2, :3] += BF16.type(error)
            return gradients

        return rung

    check_forward(wrong(0), q, k, v)
    for error in (0.1, np.nan):
        with pytest.raises(AssertionError):
            check_forward(wrong(error), q, k, v)
        monkeypatch.setattr(cuda_attention, "A8", wrong_backward(10 * error))
        with pytest.raises(AssertionError):
            check_backward(q, k, v, do)


@forward_rungs
def test_a_mean_of_ones_is_one(rung):
    q, k, v, _ = some(rung)
    o, _ = forward(rung, q, k, np.ones_like(v), causal=True)
    np.testing.assert_allclose(oracles.double(o), 1, atol=1e-6 if rung is A5 else 2**-8)


@forward_rungs
def test_what_all_scores_gain_goes_into_lse_and_leaves_o(rung):
    q, k, v, _ = some(rung)
    q[..., 0], k[..., 0], v[..., 0] = 1, 0, 0
    o, lse = forward(rung, q, k, v, scale=0.125)
    k[..., 0] = 24
    more_o, more_lse = forward(rung, q, k, v, scale=0.125)
    assert oracles.relative_error(more_o, o) < (5e-6 if rung is A5 else 4e-3)
    np.testing.assert_allclose(more_lse, lse + 3, rtol=1e-5)


@forward_rungs
def test_the_order_of_keys_does_not_matter(rung):
    q, k, v, _ = some(rung)
    mask = np.arange(140) % 4 > 0
    order = np.random.default_rng(1).permutation(140)
    o, lse = forward(rung, q, k, v, mask)
    o_again, lse_again = forward(rung, q, k[:, :, order].copy(), v[:, :, order].copy(), mask[order])
    assert oracles.relative_error(o_again, o) < (5e-6 if rung is A5 else 4e-3)
    np.testing.assert_allclose(lse_again, lse, rtol=1e-5)


@forward_rungs
def test_a_key_changes_no_bit_of_the_queries_before_it(rung):
    q, k, v, _ = some(rung, T=150, S=150)
    o, lse = forward(rung, q, k, v, causal=True)
    k[:, :, 131:] += 1
    v[:, :, 131:] *= -3
    o_again, lse_again = forward(rung, q, k, v, causal=True)
    assert o[:, :, :131].tobytes() == o_again[:, :, :131].tobytes()
    assert lse[:, :, :131].tobytes() == lse_again[:, :, :131].tobytes()


def test_pipelined_and_plain_tensor_cores_agree():
    q, k, v, _ = some(A6, T=150, S=129, C=128)
    o, lse = forward(A6, q, k, v, causal=True)
    o_again, lse_again = forward(A7, q, k, v, causal=True)
    assert oracles.relative_error(o_again, o) < 4e-3
    np.testing.assert_allclose(lse_again, lse, rtol=1e-5)


@on_the_cpu
@pytest.mark.parametrize("rung", [A5, A6, A7, A8], ids=["A5", "A6", "A7", "A8"])
def test_every_schedule_gives_the_same_bits(rung):
    q, k, v, do = some(rung, H=2, G=1, C=128)
    o, lse = (x.astype(t) for x, t in zip(oracles.attention(q, k, v), (F32, F32), strict=True))
    bits = set()
    for order in SCHEDULES:
        with cpu.schedule(order):
            if rung is A8:
                results = backward(q, k, v, o.astype(BF16), lse, do, causal=True)
            else:
                results = forward(rung, q, k, v, causal=True)
        bits.add(b"".join(x.tobytes() for x in results))
    assert len(bits) == 1


@pytest.mark.parametrize("rung", [A5, A6, A7, A8], ids=["A5", "A6", "A7", "A8"])
@pytest.mark.parametrize(("B", "T", "S"), [(0, 5, 5), (1, 0, 5), (1, 5, 0)])
def test_nothing_to_look_at_or_no_one_who_looks(rung, B, T, S):
    q, k, v, do = some(rung, B=B, T=T, S=S)
    if rung is A8:
        o, lse = np.zeros_like(q), np.full(q.shape[:3], -np.inf, F32)
        gradients = backward(q, k, v, o, lse, do)
        assert [d.shape for d in gradients] == [q.shape, k.shape, v.shape]
        assert all((oracles.double(d) == 0).all() for d in gradients)
    else:
        o, lse = forward(rung, q, k, v)
        assert o.shape == q.shape
        assert (oracles.double(o) == 0).all()
        assert np.isneginf(lse).all()


@forward_rungs
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda q, k, v: (q.mT.copy().mT, k, v, {}), "takes contiguous arrays, and q"),
        (lambda q, k, v: (q, k.astype(np.float64), v, {}), "arrays, and k is float64"),
        (lambda q, k, v: (q, k, v[:, :, 1:].copy(), {}), r"are not \(B, H, T, C\) and twice"),
        (lambda q, k, v: (q[:, :1].copy(), k, v, {}), "2 key heads do not divide 1 query heads"),
        (lambda q, k, v: (q, k, v, {"mask": np.ones((70, 3), bool)}), "does not broadcast"),
        (lambda q, k, v: (q, k, v, {"mask": np.ones((70, 9))}), "a mask holds booleans"),
        (lambda q, k, v: (q, k, v, {"scale": 0.0}), "a scale of 0.0 is not above 0 and finite"),
        (lambda q, k, v: (q, k, v, {"scale": math.nan}), "a scale of nan is not above 0"),
    ],
)
def test_what_a_forward_rung_does_not_take_is_said_in_one_sentence(rung, change, sentence):
    q, k, v, _ = some(rung, G=2, S=9)
    q, k, v, options = change(q, k, v)
    with pytest.raises(ValueError, match=sentence):
        rung(q, k, v, **options)


@pytest.mark.parametrize("rung", [A5, A6, A7, A8], ids=["A5", "A6", "A7", "A8"])
@pytest.mark.parametrize("C", [8, 24, 144])
def test_head_sizes_are_multiples_of_16_up_to_128(rung, C):
    q, k, v, do = some(rung, C=C)
    rest = (q, np.zeros(q.shape[:3], F32), do) if rung is A8 else ()
    with pytest.raises(ValueError, match=f"takes head sizes 16, 32, … 128, not {C}"):
        rung(q, k, v, *rest)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda o, lse, do: (o[:, :, 1:].copy(), lse, do), "are not those of q"),
        (lambda o, lse, do: (o, lse[..., 1:].copy(), do), "are not those of q"),
        (lambda o, lse, do: (o, lse.astype(np.float64), do), "and lse is float64"),
        (lambda o, lse, do: (o, lse, do.astype(F32)), "and do is float32"),
        (lambda o, lse, do: (o, lse, do[:, :, ::-1]), "contiguous arrays, and do"),
    ],
)
def test_what_backward_does_not_take_is_said_in_one_sentence(change, sentence):
    q, k, v, do = some(A8)
    o, lse, do = change(q, np.zeros(q.shape[:3], F32), do)
    with pytest.raises(ValueError, match=sentence):
        A8(q, k, v, o, lse, do)

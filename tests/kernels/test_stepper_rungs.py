"""The Numba rungs, stepped through: nothing is found, unless one of their barriers is missing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivlm_kernels import arrays, stepper
from minivlm_kernels.attention import a1_naive, a2_tiled, a3_flash, a4_flash_backward
from minivlm_kernels.contrastive import c1_dense, c2_streaming, c3_streaming_backward
from tests.kernels import oracles
from tests.kernels.barriers import barriers, module_without
from tests.kernels.conftest import ON_GPU
from tests.kernels.pairs import batch, calls, one, right_lses
from tests.kernels.places import normal
from tests.kernels.simulator import shared_arrays_made_once

FORWARD = [a1_naive, a2_tiled, a3_flash]
CONTRASTIVE = [c1_dense, c2_streaming, c3_streaming_backward]
TILE = 4


def attention_inputs(B, G, R, T, S, C, seed=0):
    """q, k, v, and what backward takes besides: o, its log-sum-exps, and do."""
    rng = np.random.default_rng(seed)
    q, do = normal(rng, B, G * R, T, C), normal(rng, B, G * R, T, C)
    return q, normal(rng, B, G, S, C), normal(rng, B, G, S, C), do


def forward_results(q, k, v, mask=None, causal=False):
    return [x.astype(np.float32) for x in oracles.attention(q, k, v, mask, causal)]


def stepped(function, *inputs, **options):
    """A rung's results, the same in either order of threads, of which none has a finding."""
    results = []
    for backwards in (False, True):
        with arrays.poisoned_outputs(), stepper.watch(backwards=backwards):
            got = function(*inputs, **options)
        results.append(got if isinstance(got, tuple) else (got,))
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)
    return results[0]


@st.composite
def attentions(draw):
    sizes = [draw(st.integers(1, 2)) for _ in "BGR"]
    T, S, C = (draw(st.integers(1, most)) for most in (9, 9, 5))
    q, k, v, do = attention_inputs(*sizes, T, S, C, seed=draw(st.integers(0, 99)))
    mask = None
    if draw(st.booleans()):
        mask = np.random.default_rng(T).random((q.shape[0], 1, 1, S)) > 0.4
    return q, k, v, do, mask, draw(st.booleans())


@given(st.sampled_from(FORWARD), attentions())
@settings(max_examples=20)
def test_attention_is_right_and_without_findings(rung, example):
    q, k, v, _, mask, causal = example
    o, lse = stepped(rung.forward, q, k, v, mask, causal, tile=TILE)
    right_o, right_lse = oracles.attention(q, k, v, mask, causal)
    assert oracles.relative_error(o, right_o) < 5e-6
    np.testing.assert_allclose(lse, right_lse, rtol=1e-5, atol=1e-5)


@given(attentions())
@settings(max_examples=10)
def test_its_gradients_are_right_and_without_findings(example):
    q, k, v, do, mask, causal = example
    inputs = q, k, v, *forward_results(q, k, v, mask, causal), do
    got = stepped(a4_flash_backward.backward, *inputs, mask, causal, tile=TILE)
    right = oracles.attention_gradients(q, k, v, do, mask, causal)
    size = max(np.linalg.norm(gradient) for gradient in right)
    for ours, theirs in zip(got, right, strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-5 * size


def contrastive_calls(rung, N=10, E=6):
    """The functions of a rung with inputs of three tiles by two."""
    image, text = batch(N, E)
    scale = one(9.0)
    return calls(rung, image, text, scale, one(-3.0), right_lses(image, text, scale))


@pytest.mark.skipif(ON_GPU, reason="there is no simulator beside a GPU")
@pytest.mark.parametrize("rung", CONTRASTIVE, ids=lambda rung: rung.RUNG)
def test_the_contrastive_losses_are_those_of_the_simulator_and_without_findings(rung):
    for function, inputs in contrastive_calls(rung):
        ours = stepped(function, *inputs, tile=TILE)
        with shared_arrays_made_once():
            theirs = function(*inputs, tile=TILE)
        theirs = theirs if isinstance(theirs, tuple) else (theirs,)
        for x, y in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(x, y)


# A barrier less


def run_all(rung):
    """Whatever a rung has, on sizes of more than one tile, of which the last is not full."""
    if hasattr(rung, "sigmoid_forward") or hasattr(rung, "sigmoid_backward"):
        for function, inputs in contrastive_calls(rung):
            function(*inputs, tile=TILE)
        return
    q, k, v, do = attention_inputs(B=1, G=1, R=2, T=9, S=10, C=5)
    if hasattr(rung, "forward"):
        rung.forward(q, k, v, tile=TILE)
    else:
        rung.backward(q, k, v, *forward_results(q, k, v), do, tile=TILE)


WITH_BARRIERS = [a2_tiled, a3_flash, a4_flash_backward, *CONTRASTIVE]
ALL_BARRIERS = [(rung, line) for rung in WITH_BARRIERS for line in barriers(Path(rung.__file__))]


def test_every_rung_is_here():
    folders = [Path(rung.__file__).parent for rung in (a1_naive, c1_dense)]
    rungs = {str(path) for folder in folders for path in folder.glob("[ac][0-9]_*.py")}
    assert rungs == {rung.__file__ for rung in (a1_naive, *WITH_BARRIERS)}
    assert {rung for rung, _ in ALL_BARRIERS} == set(WITH_BARRIERS)
    assert barriers(Path(a1_naive.__file__)) == []


@pytest.mark.parametrize("rung", WITH_BARRIERS, ids=lambda rung: rung.RUNG)
def test_with_all_barriers_nothing_is_found(rung):
    with stepper.watch():
        run_all(rung)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("rung", "line"), ALL_BARRIERS, ids=[f"{rung.RUNG} {line}" for rung, line in ALL_BARRIERS]
)
def test_without_one_barrier_there_is_a_race(rung, line, backwards):
    less = module_without(Path(rung.__file__), line)
    with (
        pytest.raises(stepper.Race, match="there is no barrier between"),
        stepper.watch(backwards=backwards),
    ):
        run_all(less)


def test_online_softmax_reads_each_key_once_a_tile():
    q, k, v, _ = attention_inputs(B=1, G=1, R=1, T=8, S=8, C=2)
    with stepper.watch(events=True) as log:
        a3_flash.forward(q, k, v, tile=TILE)
    assert log.launches[0].arrays["k"].reuse == 2  # by each of two blocks
    keys = [log.touched("k", block=(0, 0, 0), interval=2 * tile) for tile in range(2)]
    assert [{index[2] for index in tile} for tile in keys] == [{0, 1, 2, 3}, {4, 5, 6, 7}]

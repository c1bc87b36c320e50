"""How the tests run rungs A1 to A4, and what they hold them to."""

import math

import numpy as np
import pytest
from hypothesis import strategies as st

from minivlm_kernels import arrays
from minivlm_kernels.attention import a1_naive, a2_tiled, a3_flash, a4_flash_backward
from tests.kernels import oracles
from tests.kernels.places import back, normal, place

FORWARD = [a1_naive, a2_tiled, a3_flash]
RUNGS = [*FORWARD, a4_flash_backward]
SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 11, 13]  # of T and S, around the tiles of 2 to 5

forward_rungs = pytest.mark.parametrize("rung", FORWARD, ids=lambda rung: rung.RUNG)
every_rung = pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.RUNG)


def small_tile(rung):
    """A2's blocks have tile² threads, and the simulator's time goes with the threads."""
    return 2 if rung.RUNG == a2_tiled.RUNG else 4


def with_small_tile(rung, options):
    """The options; where none is given, a small tile; where it is None, the default of a GPU."""
    options = {"tile": small_tile(rung), **options}
    return {name: option for name, option in options.items() if option is not None}


def forward(rung, q, k, v, mask=None, causal=False, **options):
    """o and lse on the host, from arrays on the host; what was not written is NaN."""
    options = with_small_tile(rung, options)
    mask = None if mask is None else place(mask)
    with arrays.poisoned_outputs():
        o, lse = rung.forward(place(q), place(k), place(v), mask, causal, **options)
    return back(o), back(lse)


def backward(rung, q, k, v, do, mask=None, causal=False, **options):
    """dq, dk and dv on the host, after a forward pass by A3."""
    options = with_small_tile(rung, options)
    o, lse = forward(a3_flash, q, k, v, mask, causal, scale=options.get("scale"))
    mask = None if mask is None else place(mask)
    given = (place(x) for x in (q, k, v, o, lse, do))
    with arrays.poisoned_outputs():
        gradients = rung.backward(*given, mask, causal, **options)
    return tuple(back(gradient) for gradient in gradients)


def largest_sum(q, k):
    """The largest Σ |q·k| / √C of a pair: what the rounding of a score is relative to."""
    keys = np.repeat(np.abs(k), q.shape[1] // k.shape[1], axis=1)
    return max(1.0, float((np.abs(q) @ keys.mT).max()) / math.sqrt(q.shape[-1]))


def check_forward(rung, q, k, v, mask=None, causal=False, **options):
    o, lse = forward(rung, q, k, v, mask, causal, **options)
    right_o, right_lse = oracles.attention(q, k, v, mask, causal)
    assert o.dtype == lse.dtype == np.float32
    assert oracles.relative_error(o, right_o) < 5e-6
    nowhere = np.isneginf(right_lse)
    np.testing.assert_array_equal(np.isneginf(lse), nowhere)
    np.testing.assert_array_equal(o[nowhere], 0)
    error = np.abs(lse[~nowhere] - right_lse[~nowhere])
    assert np.all(error < 2e-6 * largest_sum(q, k))


def check_backward(rung, q, k, v, do, mask=None, causal=False, **options):
    got = backward(rung, q, k, v, do, mask, causal, **options)
    right = oracles.attention_gradients(q, k, v, do, mask, causal)
    norm = math.hypot(*(np.linalg.norm(gradient) for gradient in right))
    tolerance = 1e-5 * max(1.0, largest_sum(q, k) / 100) * norm
    for ours, theirs in zip(got, right, strict=True):
        assert ours.dtype == np.float32
        assert np.linalg.norm(ours - theirs) <= tolerance


def results(rung, q, k, v, do, **options):
    if rung is a4_flash_backward:
        return backward(rung, q, k, v, do, causal=True, **options)
    return forward(rung, q, k, v, causal=True, **options)


@st.composite
def cases(draw):
    """q, k, v, mask and causal: any sizes, grouped heads, amplitudes, and rows without a key."""
    B, G, R = (draw(st.sampled_from([1, 1, 2])) for _ in range(3))
    H, C = G * R, draw(st.sampled_from([1, 2, 3, 5, 8]))
    T = draw(st.sampled_from(SIZES))
    S = draw(st.sampled_from([S for S in SIZES if B * H * T * S < 400]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    amplitude = draw(st.sampled_from([0.1, 1.0, 5.0, 30.0]))
    q = normal(rng, B, H, T, C, amplitude=amplitude)
    k, v = normal(rng, B, G, S, C), normal(rng, B, G, S, C)
    if draw(st.booleans()):
        k[:] = k[:, :, :1]  # all keys alike
    shape = draw(st.sampled_from([None, (B, 1, 1, S), (T, S), (B, H, T, S)]))
    mask = None
    if shape is not None:
        mask = rng.random(shape) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    return q, k, v, mask, draw(st.booleans())


def some(B=1, H=2, G=1, T=6, S=9, C=4, seed=0):
    """q, k, v and do, of more than one tile of 2 to 4."""
    rng = np.random.default_rng(seed)
    q, do = (normal(rng, B, H, T, C) for _ in range(2))
    k, v = (normal(rng, B, G, S, C) for _ in range(2))
    return q, k, v, do

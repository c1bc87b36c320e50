"""How the tests run rungs A5 to A8, and what they hold them to."""

import math
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import strategies as st

from minivlm_kernels import arrays
from minivlm_kernels.arrays import BF16, F32
from minivlm_kernels.attention import cuda
from minivlm_kernels.cuda.load import load
from tests.kernels import oracles
from tests.kernels.conftest import ON_GPU
from tests.kernels.places import back, normal, place

A5, A6 = cuda.forward_register_tiles, cuda.forward_tensor_cores
A7, A8 = cuda.forward_pipelined, cuda.backward_tensor_cores
SOURCES = {
    A5: cuda.REGISTER_TILES,
    A6: cuda.TENSOR_CORES,
    A7: cuda.PIPELINED,
    A8: cuda.BACKWARD,
}
HEADS = {A5: [16, 64, 128], A6: [16, 64, 128], A7: [48, 64, 112, 128], A8: [48, 64, 128]}
SCHEDULES = [0, 1, 7]
SIZES = [1, 2, 15, 31, 47, 48, 49, 63, 64, 65, 97, 127, 128, 129, 150]  # of T and S, around tiles

forward_rungs = pytest.mark.parametrize("rung", [A5, A6, A7], ids=["A5", "A6", "A7"])
runs_cuda = pytest.mark.skipif(
    not ON_GPU and shutil.which("g++") is None, reason="without a GPU, .cu files need g++"
)
on_the_cpu = pytest.mark.skipif(ON_GPU, reason="the executor tells this, a GPU does not")


def compile_side_by_side(*wanted):
    """Compile (file, head size) pairs, two at a time; later loads find them."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pair: load(pair[0], place(np.zeros(1)), C=pair[1]), wanted))


def dtype_of(rung):
    return F32 if rung is A5 else BF16


def forward(rung, q, k, v, mask=None, causal=False, **options):
    """o and lse on the host, from arrays on the host; what was not written is NaN."""
    mask = None if mask is None else place(mask)
    with arrays.poisoned_outputs():
        o, lse = rung(place(q), place(k), place(v), mask, causal, **options)
    return back(o), back(lse)


def backward(q, k, v, o, lse, do, mask=None, causal=False, **options):
    """dq, dk and dv on the host, from arrays on the host; what was not written is NaN."""
    given = [place(x) for x in (q, k, v, o, lse, do)]
    mask = None if mask is None else place(mask)
    with arrays.poisoned_outputs():
        gradients = A8(*given, mask, causal, **options)
    return tuple(back(gradient) for gradient in gradients)


def check_forward(rung, q, k, v, mask=None, causal=False, **options):
    o, lse = forward(rung, q, k, v, mask, causal, **options)
    right_o, right_lse = oracles.attention(q, k, v, mask, causal)
    assert o.dtype == dtype_of(rung)
    assert lse.dtype == F32
    assert oracles.relative_error(o, right_o) < (5e-6 if rung is A5 else 4e-3)
    nowhere = np.isneginf(right_lse)
    np.testing.assert_array_equal(np.isneginf(lse), nowhere)
    np.testing.assert_array_equal(oracles.double(o)[nowhere], 0)
    right_lse = right_lse[~nowhere]
    error = np.abs(lse[~nowhere] - right_lse)
    assert np.all(error < 1e-5 * np.maximum(1, np.abs(right_lse)))


def check_backward(q, k, v, do, mask=None, causal=False):
    o, lse = oracles.attention(q, k, v, mask, causal)
    o, lse = o.astype(F32).astype(BF16), lse.astype(F32)
    got = backward(q, k, v, o, lse, do, mask, causal)
    right = right_gradients(q, k, v, o, lse, do, mask, causal)
    norm = math.hypot(*(np.linalg.norm(gradient) for gradient in right))
    for ours, theirs in zip(got, right, strict=True):
        assert ours.dtype == BF16
        assert ours.shape == theirs.shape
        assert np.linalg.norm(oracles.double(ours) - theirs) <= 6e-3 * norm


def right_gradients(q, k, v, o, lse, do, mask=None, causal=False):
    """dq, dk and dv in float64, for o as it was rounded.

    Where one key has nearly all the weight, do·v − do·o is so small that the rounding of o decides
    about it: such gradients are right for the o that is given, and the library's for its own.
    """
    q, k, v, o, lse, do = (oracles.double(x) for x in (q, k, v, o, lse, do))
    B, H, T, C = q.shape
    G, S = k.shape[1:3]
    keys, values = (np.repeat(x, H // G, axis=1) for x in (k, v))
    look = np.tri(T, S, S - T, dtype=bool) if causal else np.ones((T, S), bool)
    look = np.broadcast_to(look if mask is None else look & mask, (B, H, T, S))
    scores = np.where(look, q @ keys.mT / math.sqrt(C), -np.inf)
    p = np.exp(scores - np.where(np.isneginf(lse), np.inf, lse)[..., None])
    ds = p * (do @ values.mT - (do * o).sum(-1, keepdims=True)) / math.sqrt(C)
    dk, dv = ds.mT @ q, p.mT @ do
    return ds @ keys, *(x.reshape(B, G, H // G, S, C).sum(2) for x in (dk, dv))


def some(rung, B=1, H=2, G=1, T=70, S=140, C=64, seed=0):
    """q, k, v and do for a rung, of more than one tile."""
    rng = np.random.default_rng(seed)
    dtype = dtype_of(rung)
    q, do = (normal(rng, B, H, T, C, dtype=dtype) for _ in range(2))
    k, v = (normal(rng, B, G, S, C, dtype=dtype) for _ in range(2))
    return q, k, v, do


@st.composite
def cases(draw, heads, dtype):
    """q, k, v, do, mask and causal: sizes around the tiles, grouped heads, rows without a key."""
    B, G, R = (draw(st.sampled_from([1, 1, 2])) for _ in range(3))
    H, C = G * R, draw(st.sampled_from(heads))
    T, S = (draw(st.sampled_from(SIZES)) for _ in range(2))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    amplitude = draw(st.sampled_from([0.1, 1.0, 5.0, 30.0]))
    q = normal(rng, B, H, T, C, dtype=dtype, amplitude=amplitude)
    do = normal(rng, B, H, T, C, dtype=dtype)
    k, v = (normal(rng, B, G, S, C, dtype=dtype) for _ in range(2))
    shape = draw(st.sampled_from([None, None, (B, 1, 1, S), (T, S), (1, H, T, 1), (B, H, T, S)]))
    mask = None
    if shape is not None:
        mask = rng.random((*shape, 2))[..., 1] < draw(st.sampled_from([0.1, 0.5, 0.9]))
    return q, k, v, do, mask, draw(st.booleans())

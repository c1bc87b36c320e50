"""Tensor cores, matrix loads and shuffles as the executor emulates them, against NumPy."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivlm_kernels.arrays import BF16
from minivlm_kernels.cuda.load import load
from tests.kernels.places import back, normal, place

SOURCE = Path(__file__).parent / "sources" / "warps.cu"
LANE = np.arange(32)
G, T = LANE // 4, LANE % 4


@pytest.fixture(scope="module")
def kernels():
    return load(SOURCE, place(np.zeros(1)))


def pairs(matrix, rows, columns):
    """Two neighbours of a row in one register: (32,) uint32."""
    bits = matrix.view(np.uint16).astype(np.uint32)
    return bits[rows, columns] | bits[rows, columns + 1] << 16


def test_a_tensor_core_multiplies_what_the_lanes_hold(kernels):
    """On a GPU this holds the real one to the layout that warp.cuh tells."""
    rng = np.random.default_rng(0)
    a, b = normal(rng, 16, 16, dtype=BF16), normal(rng, 16, 8, dtype=BF16)
    before = normal(rng, 16, 8)
    left = [pairs(a, G + 8 * (e % 2), 2 * T + 8 * (e // 2)) for e in range(4)]
    right = [pairs(np.ascontiguousarray(b.T), G, 2 * T + 8 * e) for e in range(2)]
    rows = [G, G, G + 8, G + 8]
    columns = [2 * T, 2 * T + 1, 2 * T, 2 * T + 1]
    d = place(np.stack([before[r, c] for r, c in zip(rows, columns, strict=True)], axis=1))
    ab = place(np.stack(left, axis=1)), place(np.stack(right, axis=1))
    kernels.launch("multiply", (1,), (32,), (*ab, d))
    expected = before + a.astype(np.float64) @ b.astype(np.float64)
    got = np.full((16, 8), np.nan)
    for e in range(4):
        got[rows[e], columns[e]] = back(d)[:, e]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pitch", [8, 16, 24])
def test_matrices_are_loaded_and_transposed(kernels, pitch):
    rng = np.random.default_rng(1)
    x = normal(rng, 4, 8, 8, dtype=BF16)
    plain, transposed = (place(np.zeros((32, 4), np.uint32)) for _ in range(2))
    arguments = (place(x.reshape(32, 8)), plain, transposed, np.int32(pitch))
    kernels.launch("load", (1,), (32,), arguments, shared_bytes=32 * pitch * 2)
    for m in range(4):
        np.testing.assert_array_equal(back(plain)[:, m], pairs(x[m], G, 2 * T))
        np.testing.assert_array_equal(
            back(transposed)[:, m], pairs(np.ascontiguousarray(x[m].T), G, 2 * T)
        )


def test_lanes_exchange_what_they_hold(kernels):
    x = np.random.default_rng(2).integers(0, 100, 64).astype(np.int32)
    y = place(np.full((64, 8), -1, np.int32))
    kernels.launch("exchange", (1,), (64,), (place(x), y))
    for warp in range(2):
        mine, got = x[32 * warp : 32 * warp + 32], back(y)[32 * warp : 32 * warp + 32]
        np.testing.assert_array_equal(got[:, 0], mine[3])
        np.testing.assert_array_equal(got[:, 1], mine[LANE ^ 5])
        np.testing.assert_array_equal(got[:, 2], mine[np.where(LANE + 4 < 32, LANE + 4, LANE)])
        np.testing.assert_array_equal(got[:, 3], mine[np.where(LANE >= 4, LANE - 4, LANE)])
        np.testing.assert_array_equal(got[:, 4], mine[LANE // 8 * 8 + 1])
        votes = np.packbits(mine % 3 == 0, bitorder="little").view(np.uint32)[0]
        np.testing.assert_array_equal(got[:, 5].view(np.uint32), votes)
        np.testing.assert_array_equal(got[:, 6], 1)
        np.testing.assert_array_equal(got[:, 7], 0)


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 1.17549435e-38, 3.4e38, -3.4028235e38]
TIES = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -(1 + 2**-8)]


@settings(max_examples=50)
@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_bfloat16_is_rounded_as_everywhere(kernels, numbers):
    x = np.array([*numbers, *SPECIAL, *TIES], np.float32)
    y, again = place(np.zeros(len(x), BF16)), place(np.zeros(len(x), np.float32))
    packed = place(np.zeros(len(x), np.uint32))
    arguments = (place(x), y, again, packed, np.int32(len(x)))
    kernels.launch("round_off", (1,), (32,), arguments)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(BF16)
    np.testing.assert_array_equal(back(y).astype(np.float32), expected.astype(np.float32))
    np.testing.assert_array_equal(back(again), expected.astype(np.float32))
    number = ~np.isnan(x) & ~np.isnan(x[::-1])  # of a NaN, the bits are no one's business
    bits = expected.view(np.uint16).astype(np.uint32)
    np.testing.assert_array_equal(back(packed)[number], (bits | bits[::-1] << 16)[number])


def test_atomics_lose_nothing(kernels):
    total, most = place(np.zeros(1, np.float32)), place(np.zeros(1, np.int32))
    kernels.launch("add_up", (3,), (100,), (total, most))
    assert back(total)[0] == 300
    assert back(most)[0] == 99

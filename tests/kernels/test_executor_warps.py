"""Tensor cores, matrix loads and shuffles as the executor emulates them, against NumPy."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivlm_kernels.arrays import BF16
from minivlm_kernels.cuda.load import load
from tests.kernels.conftest import ON_GPU
from tests.kernels.places import back, normal, place

pytestmark = pytest.mark.skipif(
    not ON_GPU and shutil.which("g++") is None, reason="without a GPU, .cu files need g++"
)
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


def test_lanes_exchange_within_groups(kernels):
    x = np.random.default_rng(3).standard_normal(32).astype(np.float32)
    y = place(np.zeros((32, 6), np.float32))
    kernels.launch("exchange_in_groups", (1,), (32,), (place(x), y))
    sources = [
        LANE // 8 * 8 + 3,
        np.where(LANE % 8 >= 3, LANE - 3, LANE),
        np.where(LANE % 8 < 5, LANE + 3, LANE),
        LANE ^ 6,
        np.where(LANE & 8, LANE ^ 8, LANE),
        LANE,
    ]
    np.testing.assert_array_equal(back(y), x[np.stack(sources, axis=1)])


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 1.17549435e-38, 3.4e38, -3.4028235e38]
STRANGE = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)  # all NaN
TIES = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -(1 + 2**-8)]


@settings(max_examples=50)
@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_bfloat16_is_rounded_as_everywhere(kernels, numbers):
    x = np.array([*numbers, *SPECIAL, *STRANGE, *TIES], np.float32)
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


def test_the_greater_of_a_number_and_nan_is_the_number(kernels):
    x = np.array([[1, 2], [2, 1], [np.nan, 3], [3, np.nan], [-np.inf, 5]], np.float32)
    y = place(np.zeros((5, 4), np.float32))
    kernels.launch("halves", (1,), (5,), (place(x), y))
    np.testing.assert_array_equal(back(y)[:, :2], x)
    np.testing.assert_array_equal(back(y)[:, 2], np.fmax(x[:, 0], x[:, 1]))
    np.testing.assert_array_equal(back(y)[:, 3], np.fmin(x[:, 0], x[:, 1]))


def test_atomics_lose_nothing(kernels):
    total, numbers = place(np.zeros(1, np.float32)), place(np.array([0, 99, 0, -1, 7], np.int32))
    before = place(np.full((100, 3), -5, np.int32))
    kernels.launch("change", (1,), (100,), (total, numbers, before))
    total, numbers, before = back(total), back(numbers), back(before)
    assert total[0] == 100
    assert [*numbers[:3]] == [99, 0, 200]
    np.testing.assert_array_equal(np.sort(before[:, 0]), np.arange(0, 200, 2))
    np.testing.assert_array_equal(np.sort([*before[:, 1], numbers[3]]), np.arange(-1, 100))
    swapped = np.flatnonzero(before[:, 2] == 7)
    assert len(swapped) in (1, 2)  # thread 7 puts 7 where 7 was, if it comes first
    assert numbers[4] in swapped

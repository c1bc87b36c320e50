from pathlib import Path

import numpy as np
import pytest

from minivlm_kernels.arrays import BF16
from minivlm_kernels.cuda.cpu import CpuKernels, counted

SOURCE = Path(__file__).parent / "sources" / "warps.cu"


@pytest.mark.parametrize(
    ("pitch", "degree"),
    [(64, 8), (72, 1), (80, 2), (32, 4), (8, 1)],
)
def test_banks_collide_where_rows_begin_in_the_same(pitch, degree):
    kernels = CpuKernels(SOURCE, {})
    x = np.zeros((32, 8), BF16)
    plain, transposed = (np.zeros((32, 4), np.uint32) for _ in range(2))
    with counted() as counts:
        arguments = (x, plain, transposed, np.int32(pitch))
        kernels.launch("load", (1,), (32,), arguments, shared_bytes=32 * pitch * 2)
    assert counts.matrix_loads == 8
    assert counts.conflict_degree == degree


def test_a_tensor_cores_operations_are_counted():
    kernels = CpuKernels(SOURCE, {})
    a, b, d = np.zeros((32, 4), np.uint32), np.zeros((32, 2), np.uint32), np.zeros((32, 4))
    with counted() as counts:
        kernels.launch("multiply", (1,), (32,), (a, b, d.astype(np.float32)))
    assert counts.tensor_multiply_adds == 16 * 8 * 16


@pytest.mark.parametrize("macro", ["SLOW_FIBERS"])
def test_the_portable_fibers_do_the_same(macro):
    x = np.arange(64, dtype=np.int32)
    quick, slow = (np.full((64, 8), -1, np.int32) for _ in range(2))
    CpuKernels(SOURCE, {}).launch("exchange", (1,), (64,), (x, quick))
    CpuKernels(SOURCE, {macro: 1}).launch("exchange", (1,), (64,), (x, slow))
    np.testing.assert_array_equal(quick, slow)

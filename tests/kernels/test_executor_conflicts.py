"""Shared memory serves 8 times 16 bytes in one turn or in more; the executor counts them."""

from pathlib import Path

import numpy as np
import pytest

from minivlm_kernels.arrays import BF16
from minivlm_kernels.cuda.cpu import CpuKernels, KernelError, counted
from tests.kernels.faults import needs_gplusplus

pytestmark = needs_gplusplus

SOURCES = Path(__file__).parent / "sources"


@pytest.mark.parametrize(("pitch", "degree"), [(64, 8), (72, 1), (80, 2), (32, 4), (8, 1)])
def test_matrix_loads_collide_where_rows_begin_in_the_same_bank(pitch, degree):
    kernels = CpuKernels(SOURCES / "warps.cu", {})
    x = np.zeros((32, 8), BF16)
    plain, transposed = (np.zeros((32, 4), np.uint32) for _ in range(2))
    with counted() as counts:
        arguments = (x, plain, transposed, np.int32(pitch))
        kernels.launch("load", (1,), (32,), arguments, shared_bytes=32 * pitch * 2)
    assert counts.matrix_loads == 8
    assert counts.conflict_degree == degree


@pytest.mark.parametrize(
    ("threads", "pitch", "count", "copies", "degree"),
    [
        (32, 4, 64, 8, 1),  # neighbours store to neighbours
        (32, 32, 64, 8, 8),  # 128 bytes apart: all in the same banks
        (32, 36, 64, 8, 1),
        (32, 8, 64, 8, 2),
        (32, 16, 64, 8, 4),
        (32, 0, 64, 8, 1),  # to one and the same place
        (32, 32, 44, 6, (5 * 8 + 4) / 6),  # 12 lanes of the second round have nothing to do
        (4, 32, 4, 1, 4),
    ],
)
def test_copies_collide_where_lanes_store_to_the_same_bank(threads, pitch, count, copies, degree):
    kernels = CpuKernels(SOURCES / "launches.cu", {})
    arguments = (np.zeros(4, np.float32), np.int32(pitch), np.int32(count))
    with counted() as counts:
        kernels.launch("stores", (2,), (threads,), arguments, shared_bytes=8192 + 2048)
    assert counts.copies == 2 * copies
    assert counts.copy_conflict_degree == pytest.approx(degree)


def test_a_launch_that_failed_leaves_no_copies_to_count():
    kernels = CpuKernels(SOURCES / "launches.cu", {})
    arguments = (np.zeros(4, np.float32), np.int32(4), np.int32(32))
    with counted(), pytest.raises(KernelError, match="out of bounds"):
        kernels.launch("stores", (1,), (32,), arguments, shared_bytes=256)
    with counted() as counts:
        kernels.launch("stores", (1,), (32,), arguments, shared_bytes=512)
    assert (counts.copies, counts.copy_turns) == (4, 4)


def test_a_tensor_cores_operations_are_counted():
    kernels = CpuKernels(SOURCES / "warps.cu", {})
    a, b, d = np.zeros((32, 4), np.uint32), np.zeros((32, 2), np.uint32), np.zeros((32, 4))
    with counted() as counts:
        kernels.launch("multiply", (1,), (32,), (a, b, d.astype(np.float32)))
    assert counts.tensor_multiply_adds == 16 * 8 * 16

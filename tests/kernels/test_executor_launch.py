"""A launch on the CPU: what it takes, in which order threads run, and what is counted."""

from pathlib import Path

import numpy as np
import pytest

from minivlm_kernels.arrays import BF16
from minivlm_kernels.cuda.cpu import Counts, CpuKernels, KernelError, counted, schedule
from tests.kernels.faults import floats, needs_gplusplus

pytestmark = needs_gplusplus

SOURCE = Path(__file__).parent / "sources" / "launches.cu"


@pytest.fixture(scope="module")
def kernels():
    return CpuKernels(SOURCE, {})


def test_every_block_and_thread_runs_once(kernels):
    block, thread = np.full((24, 12), -1, np.int32), np.full((24, 12), -1, np.int32)
    kernels.launch("where", (2, 3, 4), (3, 2, 2), (block, thread))
    np.testing.assert_array_equal(block, np.arange(24)[:, None] * np.ones(12))
    np.testing.assert_array_equal(thread, np.ones(24)[:, None] * np.arange(12))


def who_comes(kernels, order, grid=3, block=96):
    came = np.full(grid * block, -1, np.int32)
    with schedule(order):
        kernels.launch("who_comes_first", (grid,), (block,), (came, np.zeros(1, np.int32)))
    return came.tolist()


def test_schedules_differ_and_repeat(kernels):
    assert who_comes(kernels, 0) == list(range(288))
    assert who_comes(kernels, 1) == list(range(287, -1, -1))
    assert who_comes(kernels, 7) == who_comes(kernels, 7) != who_comes(kernels, 8)
    assert sorted(who_comes(kernels, 7)) == list(range(288))


def test_blocks_warps_and_lanes_each_come_in_random_order(kernels):
    came = np.array([who_comes(kernels, order) for order in range(2, 30)]).reshape(28, 3, 3, 32)
    first_blocks, first_warps, first_lanes = came[:, 0, 0, 0] // 96, came[:, 0, 0] // 32, came % 32
    assert set(first_blocks) == {0, 1, 2}
    assert len({*map(tuple, first_warps)}) > 3
    assert len(set(first_lanes[:, 0, 0, 0])) > 10
    assert (came // 32 == came[..., :1] // 32).all()  # a warp runs to its end before the next one


def test_shared_memory_is_poison_whenever_a_block_begins(kernels):
    y = floats(12, 0)
    kernels.launch("finds", (2,), (1,), (y,), shared_bytes=4)
    assert np.isnan(y[:10]).all()
    np.testing.assert_array_equal(y[10:], 2 + 3 + 4)


def test_arguments_of_every_kind_arrive(kernels):
    mask = np.broadcast_to(np.array([True, False])[:, None], (2, 1000))  # stride 0: two bytes
    y = floats(3)
    b = np.array([1.5]).astype(BF16)
    rest = (np.int64(1), np.int32(2), np.float32(4), y)
    kernels.launch("mixed", (1,), (1,), (b, mask, *rest))
    np.testing.assert_array_equal(y, [4, 0, 1.5])
    kernels.launch("mixed", (1,), (1,), (b, None, *rest))
    np.testing.assert_array_equal(y, [4, 4, 1.5])


def test_a_view_is_written_where_it_is(kernels):
    buffer = np.full((4, 8), -1, np.int32)
    kernels.launch("who_comes_first", (1,), (8,), (buffer[2], np.zeros(1, np.int32)))
    np.testing.assert_array_equal(buffer[2], np.arange(8))
    np.testing.assert_array_equal(np.delete(buffer, 2, axis=0), -1)


def test_sums_of_products_are_rounded_twice_and_fused_ones_once(kernels):
    """So it is on every CPU; a GPU's compiler may fuse them all."""
    x, y = np.array([1 + 2**-12, 1 + 2**-11], np.float32), floats(2)
    kernels.launch("rounds", (1,), (1,), (x, x, y))
    np.testing.assert_array_equal(y, [0, 2**-24])


def test_an_array_that_may_only_be_read_is_not_written_back(kernels, tmp_path):
    (tmp_path / "mask").write_bytes(b"\1\0")
    mask = np.memmap(tmp_path / "mask", bool, "r")
    y = floats(3)
    b = np.array([1.5]).astype(BF16)
    kernels.launch("mixed", (1,), (1,), (b, mask, np.int64(1), np.int32(2), np.float32(4), y))
    np.testing.assert_array_equal(y, [4, 0, 1.5])


def test_launches_leave_no_memory_behind(kernels):
    def pieces():
        return len(Path("/proc/self/maps").read_text().splitlines())

    who_comes(kernels, 0)
    before = pieces()
    for _ in range(50):
        who_comes(kernels, 0)
    assert pieces() < before + 50


X, N = np.zeros(64, np.int32), np.zeros(1, np.int32)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("none_such", (), "launches.cu has no kernel none_such"),
        ("who_comes_first", (X,), "takes 2 arguments, not 1"),
        ("who_comes_first", (X, N.astype(float)), "next is int32, not float64"),
        ("who_comes_first", (X, np.int32(2)), "next is an array, not int32"),
        ("who_comes_first", (X, np.broadcast_to(N, 2)), "next is written, and may only be read"),
        ("who_comes_first", (X[::-1], N), "order has negative strides"),
        ("who_comes_first", (X, X[5:6]), "order and next share memory, and one of them is written"),
        ("stores", (floats(4), np.int64(4), np.int32(8)), "pitch is int32, not int64"),
        ("stores", (floats(4), 4, np.int32(8)), "pitch is a NumPy scalar, not int"),
        ("stores", (floats(4), None, np.int32(8)), "pitch is a NumPy scalar, not NoneType"),
    ],
)
def test_arguments_that_a_kernel_does_not_declare_are_refused(kernels, name, arguments, words):
    with pytest.raises(ValueError, match=words):
        kernels.launch(name, (1,), (2,), arguments)


@pytest.mark.parametrize(
    ("grid", "block", "shared", "words"),
    [
        ((1,), (1025,), 0, r"a block has 1\.\.1024 threads, not \(1025,\)"),
        ((1,), (32, 33), 0, r"a block has 1\.\.1024 threads, not \(32, 33\)"),
        ((1,), (0,), 0, r"a block has 1\.\.1024 threads, not \(0,\)"),
        ((0,), (32,), 0, r"blocks along x, y and z, not \(0,\)"),
        ((1, 65536), (32,), 0, r"blocks along x, y and z, not \(1, 65536\)"),
        ((1,), (32,), 227 * 1024 + 1, "at most 232448 bytes of shared memory, not 232449"),
    ],
)
def test_a_launch_that_no_gpu_takes_is_refused(kernels, grid, block, shared, words):
    with pytest.raises(KernelError, match=words):
        kernels.launch("who_comes_first", grid, block, (X, N), shared_bytes=shared)


def test_the_largest_launch_runs(kernels):
    came = who_comes(kernels, 0, grid=2, block=1024)
    assert came == list(range(2048))
    x = floats(4)
    arguments = (x, np.int32(4), np.int32(227 * 64))
    kernels.launch("stores", (1,), (1024,), arguments, shared_bytes=227 * 1024)


def test_what_is_done_is_counted(kernels):
    x, y = floats(32 * 4, 1), floats(32)
    with counted() as counts:
        for _ in range(2):
            kernels.launch("counts", (1,), (32,), (x, y), shared_bytes=512)
    kernels.launch("counts", (1,), (32,), (x, y), shared_bytes=512)  # which is not counted
    assert counts == Counts(
        multiply_adds=2 * 32,
        exponentials=2 * 64,
        bytes_to_shared=2 * 32 * 16,
        bytes_put=2 * 32 * 4,
        copies=2 * 4,
        copy_turns=2 * 4,
    )
    assert np.isnan(counts.conflict_degree)
    np.testing.assert_allclose(y, 8 + np.exp(3), rtol=1e-6)

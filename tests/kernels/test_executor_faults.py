"""Whatever a kernel may not do, the executor says; and of what it may do, it says nothing."""

from pathlib import Path

import numpy as np
import pytest

from minivlm_kernels.arrays import BF16
from minivlm_kernels.cuda import gplusplus
from minivlm_kernels.cuda.cpu import CpuKernels, KernelError, counted, schedule

SOURCE = Path(__file__).parent / "sources" / "faults.cu"
TEXT = SOURCE.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def kernels():
    return CpuKernels(SOURCE, {})


def line_of(words, after=""):
    """The number of the first line that holds the words, after one that holds others."""
    start = next((i for i, line in enumerate(TEXT) if after in line), 0)
    return next(i + 1 for i, line in enumerate(TEXT) if i >= start and words in line)


def floats(n, value=np.nan):
    return np.full(n, value, np.float32)


@pytest.mark.parametrize("order", [0, 1, 7])
def test_a_barrier_makes_a_reversal_right_in_any_order(kernels, order):
    x, y = np.arange(50, dtype=np.float32), floats(50)
    with schedule(order):
        kernels.launch("reverse", (1,), (64,), (x, y, np.int32(50)))
    np.testing.assert_array_equal(y, x[::-1])


def test_without_the_barrier_poison_is_read(kernels):
    x, y = np.arange(50, dtype=np.float32), floats(50, 0)
    kernels.launch("reverse_without_barrier", (1,), (64,), (x, y, np.int32(50)))
    assert np.isnan(y[:18]).all()  # warp 0 ran on before warp 1 had written a thing


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("reads_past_the_end", (floats(32), floats(32), np.int32(1)),
         "thread 31 touches byte 128 of argument 0, which has 128 bytes"),
        ("reads_past_the_end", (floats(32), floats(32), np.int32(-1500)),
         "thread 0 touches byte -6000 of argument 0, which has 128 bytes"),
        ("writes_past_the_end", (floats(4), np.int32(4)), "touches byte 16 of argument 0"),
        ("writes_past_the_end", (floats(3), np.int32(3)), "written past the end of argument 0"),
        ("reads_shared", (floats(1), np.int32(256)), "touches byte 1024 of 16 bytes of shared"),
        ("writes_shared", (floats(1), np.int32(5)), "written past the end of shared memory"),
        ("touches_nothing_of_ours", (floats(1),), "memory that belongs to no argument"),
        ("leaves_before_the_barrier", (floats(1),), "and thread 5 has returned"),
        ("names_some_lanes", (floats(32),), "mask 0xffff names some lanes only"),
        ("copies_to_an_odd_place", (floats(8), floats(1)), "no multiple of 16 bytes"),
        ("forgets_to_wait", (floats(4),), "ended with 1 copies that it never waited for"),
    ],
)  # fmt: skip
def test_what_a_kernel_may_not_do_is_told(kernels, name, arguments, words):
    with pytest.raises(KernelError, match=rf"^faults\.cu: {name}, block \(0, 0, 0\): .*{words}"):
        kernels.launch(name, (1,), (32,), arguments, shared_bytes=16)


def test_after_a_fault_the_next_launch_is_as_any_other(kernels):
    with pytest.raises(KernelError):
        kernels.launch("writes_past_the_end", (1,), (1,), (floats(4), np.int32(4)))
    y = floats(4)
    kernels.launch("writes_past_the_end", (1,), (1,), (y, np.int32(3)))
    assert y[3] == 1


def test_what_a_failed_launch_wrote_is_not_kept(kernels):
    y = floats(3, 5)
    with pytest.raises(KernelError):
        kernels.launch("writes_past_the_end", (1,), (1,), (y, np.int32(3)))
    np.testing.assert_array_equal(y, 5)


def test_a_divergent_barrier_names_both_threads_and_lines(kernels):
    first = line_of("__syncthreads", after="two_barriers")
    words = f"waits at __syncthreads.. in line {first}, thread 31 at the one in line {first + 2}"
    with pytest.raises(KernelError, match=f"thread 0 {words}"):
        kernels.launch("two_barriers", (1,), (32,), (floats(1),))


def test_a_shuffle_that_not_all_lanes_reach_names_who_is_missing(kernels):
    line = line_of("__shfl", after="leaves_before_the_shuffle")
    with pytest.raises(KernelError, match=f"line {line}: thread 7 waits for thread 0, which has"):
        kernels.launch("leaves_before_the_shuffle", (1,), (32,), (floats(1),))
    with pytest.raises(KernelError, match=r"thread 0 waits for thread 16, which waits at line"):
        kernels.launch("shuffles_with_one_half", (1,), (32,), (floats(1),))


def test_a_warp_that_is_not_whole_cannot_shuffle(kernels):
    with pytest.raises(KernelError, match="its warp has only 16 threads"):
        kernels.launch("shuffles", (1,), (16,), (floats(16),))
    y = floats(64)
    kernels.launch("shuffles", (1,), (64,), (y,))
    np.testing.assert_array_equal(y, np.arange(64) ^ 1)


@pytest.mark.parametrize(("waits", "arrived"), [(0, 0), (1, 4), (2, 8)])
def test_a_copy_is_there_after_its_wait_and_not_before(kernels, waits, arrived):
    x, y = np.arange(8, dtype=np.float32), floats(8, 9)
    kernels.launch("copies", (1,), (1,), (x, y, np.int32(waits)), shared_bytes=32)
    expected = [0, 1, 2, 3, 0, 0, 0, 0]  # the second copy is outside: zeros
    np.testing.assert_array_equal(y[:arrived], expected[:arrived])
    assert np.isnan(y[arrived:]).all()


def test_a_copy_may_also_come_too_early(kernels):
    x = np.zeros(4, np.float32)
    late, early = floats(64), floats(64)
    kernels.launch("overwrites_what_is_read", (1,), (64,), (x, late), shared_bytes=256)
    with schedule(1):
        kernels.launch("overwrites_what_is_read", (1,), (64,), (x, early), shared_bytes=256)
    np.testing.assert_array_equal(late[:32], 7)
    np.testing.assert_array_equal(early[:32], 0)


def test_what_is_done_is_counted(kernels):
    x, y = floats(32 * 4, 1), floats(32)
    with counted() as counts:
        for _ in range(2):
            kernels.launch("counts", (1,), (32,), (x, y), shared_bytes=512)
    assert counts.multiply_adds == 2 * 32
    assert counts.exponentials == 2 * 64
    assert counts.bytes_to_shared == 2 * 32 * 16
    assert counts.bytes_put == 2 * 32 * 4
    assert np.isnan(counts.conflict_degree)
    np.testing.assert_allclose(y, 8 + np.exp(3), rtol=1e-6)


def test_every_block_and_thread_runs_once(kernels):
    block, thread = np.full((24, 12), -1, np.int32), np.full((24, 12), -1, np.int32)
    kernels.launch("where", (2, 3, 4), (3, 2, 2), (block, thread))
    np.testing.assert_array_equal(block, np.arange(24)[:, None] * np.ones(12))
    np.testing.assert_array_equal(thread, np.ones(24)[:, None] * np.arange(12))


def test_schedules_differ_and_repeat(kernels):
    def who(order):
        came = np.full(96, -1, np.int32)
        with schedule(order):
            kernels.launch("who_comes_first", (1,), (96,), (came, np.zeros(1, np.int32)))
        return came.tolist()

    assert who(0) == list(range(96))
    assert who(1) == list(range(95, -1, -1))
    assert who(7) == who(7) != who(8)
    assert sorted(who(7)) == list(range(96))


def test_arguments_of_every_kind_arrive(kernels):
    mask = np.broadcast_to(np.array([True, False])[:, None], (2, 1000))  # stride 0: two bytes
    y = floats(3)
    b = np.array([1.5]).astype(BF16)
    rest = (np.int64(1), np.int32(2), np.float32(4), y)
    kernels.launch("mixed", (1,), (1,), (b, mask, *rest))
    np.testing.assert_array_equal(y, [4, 0, 1.5])
    kernels.launch("mixed", (1,), (1,), (b, None, *rest))
    np.testing.assert_array_equal(y, [4, 4, 1.5])


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("none_such", (), "has no kernel none_such"),
        ("reverse", (floats(2), floats(2)), "takes 3 arguments, not 2"),
        ("reverse", (floats(2), np.zeros(2), np.int32(2)), "y is float32, not float64"),
        ("reverse", (floats(2), floats(2), np.int64(2)), "n is int32, not int64"),
        ("reverse", (floats(2), floats(2), 2), "n is a NumPy scalar, not int"),
        ("reverse", (floats(2), np.float32(2), np.int32(2)), "y is an array, not float32"),
        ("reverse", (floats(2), np.broadcast_to(floats(1), 2), np.int32(2)), "may only be read"),
        ("reverse", (floats(4)[::-1], floats(4), np.int32(2)), "negative strides"),
    ],
)
def test_arguments_that_a_kernel_does_not_declare_are_refused(kernels, name, arguments, words):
    with pytest.raises(ValueError, match=words):
        kernels.launch(name, (1,), (2,), arguments)


@pytest.mark.parametrize(
    ("grid", "block", "shared", "words"),
    [
        ((1,), (1025,), 0, r"1\.\.1024 threads, not \(1025,\)"),
        ((1,), (32, 33), 0, r"1\.\.1024 threads"),
        ((0,), (32,), 0, r"grid \(0,\)"),
        ((1,), (32,), 227 * 1024 + 1, "at most 232448 bytes of shared memory, not 232449"),
    ],
)
def test_a_launch_that_no_gpu_takes_is_refused(kernels, grid, block, shared, words):
    with pytest.raises(ValueError, match=words):
        kernels.launch("shuffles", grid, block, (floats(32),), shared_bytes=shared)


def test_a_mistake_in_the_source_is_told_with_its_line(tmp_path):
    source = tmp_path / "with space.cu"
    source.write_text('extern "C" __global__ void f(float* y) {\n  y[0] = nothing;\n}\n')
    with pytest.raises(Exception, match=r"with space\.cu:2:.*nothing"):
        CpuKernels(source, {})


def test_without_a_compiler_one_sentence_says_so(monkeypatch):
    monkeypatch.setattr(gplusplus.shutil, "which", lambda name: None)
    with pytest.raises(Exception, match=r"faults\.cu needs g\+\+ to run on a CPU"):
        CpuKernels(SOURCE, {})

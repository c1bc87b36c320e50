"""Whatever a kernel may not do, the executor says; and of what it may do, it says nothing."""

import numpy as np
import pytest

from minivlm_kernels.cuda.cpu import KernelError, schedule
from tests.kernels.faults import compiled, floats, i32, needs_gplusplus, place, run, sentence

pytestmark = needs_gplusplus

# ---- Barriers, and what warps do together.


@pytest.mark.parametrize("order", [0, 1, 7])
def test_a_barrier_makes_a_reversal_right_in_any_order(order):
    x, y = np.arange(50, dtype=np.float32), floats(50)
    with schedule(order):
        run("reverse", x, y, *i32(50), threads=64)
    np.testing.assert_array_equal(y, x[::-1])


def test_without_the_barrier_poison_is_read():
    x, y = np.arange(50, dtype=np.float32), floats(50, 0)
    run("reverse_without_barrier", x, y, *i32(50), threads=64)
    assert np.isnan(y[:18]).all()  # warp 0 ran on before warp 1 had written a thing


def test_a_divergent_barrier_names_both_threads_and_lines():
    first, second = place("two_barriers", "__sync"), place("two_barriers", "__sync", skip=1)
    assert sentence("two_barriers", floats(1)) == (
        f"divergent barrier: thread 0 waits at __syncthreads ({first}), and thread 16 at another "
        f"one ({second})"
    )


def test_a_barrier_that_someone_never_reaches_is_divergent():
    line = place("leaves_before_the_barrier", "__sync")
    assert sentence("leaves_before_the_barrier", floats(1)) == (
        f"divergent barrier: thread 0 waits at __syncthreads ({line}), and thread 5 has returned"
    )


def test_lanes_that_wait_for_each_other_at_different_lines_are_named():
    shuffle = place("leaves_before_the_shuffle", "__shfl")
    assert sentence("leaves_before_the_shuffle", floats(1)) == (
        f"deadlock: thread 7 waits at __shfl_xor_sync ({shuffle}) for thread 0, which has returned"
    )
    shuffle = place("shuffles_with_one_half", "__shfl")
    other = place("shuffles_with_one_half", "__syncwarp")
    assert sentence("shuffles_with_one_half", floats(1)) == (
        f"deadlock: thread 0 waits at __shfl_xor_sync ({shuffle}) for thread 16, which waits at "
        f"__syncwarp ({other})"
    )
    barrier = place("some_lanes_wait_for_the_block", "__syncthreads")
    other = place("some_lanes_wait_for_the_block", "__syncwarp")
    assert sentence("some_lanes_wait_for_the_block", floats(1)) == (
        f"deadlock: thread 16 waits at __syncwarp ({other}) for thread 0, which waits at "
        f"__syncthreads ({barrier})"
    )


def test_a_warp_that_is_not_whole_cannot_shuffle():
    words = "needs 32 lanes, and the warp of thread 32 has 16"
    assert words in sentence("shuffles", floats(48), threads=48)
    y = floats(64)
    run("shuffles", y, threads=64)
    np.testing.assert_array_equal(y, np.arange(64) ^ 1)


def test_a_mask_of_some_lanes_is_refused():
    words = "thread 0 gives a mask of some lanes, 0xffff; only whole warps are emulated"
    assert words in sentence("names_some_lanes", floats(32))


# ---- Memory.


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (1, "thread 31 reads byte 128 of x, argument 0, which has 128 bytes"),
        (-2000, "thread 0 reads byte -8000 of x, argument 0, which has 128 bytes"),
    ],
)
def test_who_reads_beside_an_array_is_named(by, words):
    line = place("reads", "y[threadIdx.x] =")
    assert sentence("reads", floats(32), floats(32), *i32(by)) == (
        f"out of bounds: {words} ({line})"
    )


@pytest.mark.parametrize(
    ("size", "at", "words"),
    [
        (4, 4, "thread 0 writes byte 16 of y, argument 0, which has 16 bytes (faults.cu:"),
        (3, 3, "a thread wrote byte 12 of y, argument 0, which has 12 bytes"),
        (4, -3, "a thread wrote byte -12 of y, argument 0, which has 16 bytes"),
        (0, 0, "thread 0 writes byte 0 of y, argument 0, which has 0 bytes (faults.cu:"),
    ],
)
def test_who_writes_beside_an_array_is_found(size, at, words):
    assert f"out of bounds: {words}" in sentence("writes", floats(size), *i32(at))


def test_who_writes_a_const_array_is_named():
    assert sentence("writes_const", floats(4)) == (
        f"const: thread 0 writes byte 4 of x, argument 0, which has 16 bytes "
        f"({place('writes_const', 'const_cast')})"
    )


@pytest.mark.parametrize(
    ("name", "at", "words"),
    [
        ("reads_shared", 256, "thread 0 reads byte 1024 of dynamic shared memory, which has 16"),
        ("writes_shared", 5, "a thread wrote byte 20 of dynamic shared memory, which has 16"),
        ("writes_shared", -1, "a thread wrote byte -4 of dynamic shared memory, which has 16"),
        ("writes_static_shared", 1500, "thread 0 writes byte"),
        ("writes_static_shared", 1000, "a thread wrote byte"),
        ("writes_static_shared", -100, "of the __shared__ arrays, which ha"),
    ],
)
def test_who_leaves_shared_memory_is_found(name, at, words):
    assert words in sentence(name, floats(1), *i32(at))


@pytest.mark.parametrize(
    ("name", "words", "at", "array"),
    [
        ("takes_a_number", "memory[at] = 2", 8, "float [8]"),
        ("takes_a_number", "memory[at] = 2", -1, "float [8]"),
        ("takes_a_register", "registers[i] +=", 5, "float [4]"),
    ],
)
def test_an_index_that_an_array_does_not_have_is_told(name, words, at, array):
    index = 4 if name == "takes_a_register" else at
    assert sentence(name, floats(1), *i32(at)) == (
        f"out of bounds: thread 0 takes number {index} of an array '{array}' ({place(name, words)})"
    )


def test_indices_within_an_array_are_not_told():
    for name, at in (("takes_a_number", 7), ("takes_a_register", 4), ("writes_static_shared", 7)):
        run(name, floats(1), *i32(at))


def test_four_numbers_at_once_must_be_aligned():
    x, y = np.arange(132, dtype=np.float32), floats(128)
    run("reads_four", x, y.view(np.float32), *i32(4))
    np.testing.assert_array_equal(y, x[4:])
    told = sentence("reads_four", x, y, *i32(2))
    assert told.startswith("misaligned: thread 0 finds no 'const struct float4' at byte 8 of x, ")
    assert told.endswith(f"({place('reads_four', 'reinterpret_cast')})")


def test_a_view_is_as_misaligned_as_it_would_be_on_a_gpu():
    x, y = np.arange(132, dtype=np.float32), floats(128)
    assert "misaligned: thread 0" in sentence("reads_four", x[1:129], y, *i32(0))
    run("reads_four", x[4:], y, *i32(0))
    np.testing.assert_array_equal(y, x[4:])


def test_a_null_pointer_and_strange_addresses_are_told():
    line = place("puts_through", "put(z")
    assert sentence("puts_through", floats(1), None) == (
        f"thread 0 writes memory that belongs to no argument, at address (nil) ({line})"
    )
    assert "at address 0x10000000000" in sentence("touches_nothing_of_ours", floats(1))


# ---- The rest.


def test_a_division_by_zero_is_told():
    line = place("divides", "100 /")
    words = f"thread 3 divides an integer by zero ({line})"
    assert sentence("divides", np.zeros(1, np.int32)) == words


def test_a_stack_that_is_used_up_is_told():
    run("calls_itself", floats(1), *i32(10))
    words = "thread 0 needs more than 65536 bytes of stack"
    assert words in sentence("calls_itself", floats(1), *i32(1000))


def test_a_thread_is_named_by_all_its_indices():
    with pytest.raises(KernelError, match=r"thread \(3, 0, 0\) reads byte 128 of x"):
        compiled().launch("reads", (1,), (4, 2), (floats(32), floats(8), *i32(29)))


def test_more_threads_than_launch_bounds_allow_are_refused():
    run("is_bounded", floats(1), threads=32)
    with pytest.raises(KernelError, match="is_bounded: __launch_bounds__ allows 32 threads, not"):
        run("is_bounded", floats(1), threads=33)


def test_after_a_fault_the_next_launch_is_as_any_other():
    for _ in range(3):
        y = floats(4)
        sentence("writes", y, *i32(4))
        run("writes", y, *i32(3), threads=1)
        assert y[3] == 1


def test_what_a_failed_launch_wrote_is_not_kept():
    y = floats(3, 5)
    sentence("writes", y, *i32(3))
    np.testing.assert_array_equal(y, 5)

"""The stepper finds divergent barriers, indices out of bounds and what was never written."""

# pyright: reportOperatorIssue=false, reportOptionalSubscript=false

import linecache

import numpy as np
import pytest
from numba import cuda, float32, int32

from minivlm_kernels.stepper import DivergentBarrier, OutOfBounds, Uninitialised, step
from tests.kernels.steps import both_orders, line, zeros


@cuda.jit
def some_return(x):
    if cuda.threadIdx.x >= 2:
        return
    cuda.syncthreads()
    x[0] = 1


@cuda.jit
def two_barriers(x):
    if cuda.threadIdx.x == 0:
        cuda.syncthreads()  # here
    else:
        cuda.syncthreads()  # and there


@cuda.jit(device=True)
def wait_for_all():
    cuda.syncthreads()


@cuda.jit
def two_calls(x):
    if cuda.threadIdx.x < 5:
        wait_for_all()
    else:
        wait_for_all()  # another


def test_a_divergent_barrier_names_who_waits_and_who_returned():
    with pytest.raises(DivergentBarrier) as caught:
        step(some_return, 1, 3, zeros(1))
    assert caught.value.sentence == (
        f"threads (0, 0, 0) and (1, 0, 0) wait at the barrier in line "
        f"{line(some_return, 'syncthreads')}; thread (2, 0, 0) has returned; but all threads of a "
        f"block must come to the same barrier (block (0, 0, 0), kernel some_return)"
    )
    step(some_return, 1, 1, zeros(1))


@cuda.jit
def one_leaves_the_loop(x):
    for _ in range(3):
        cuda.syncthreads()
        if cuda.threadIdx.x == 1:
            return


def test_a_thread_that_returns_after_a_barrier_misses_the_next():
    with pytest.raises(DivergentBarrier, match=r"\(1, 0, 0\) has returned; but"):
        step(one_leaves_the_loop, 1, 2, zeros(1))


def test_two_barriers_are_not_one():
    here, there = line(two_barriers, "# here"), line(two_barriers, "# and there")
    with pytest.raises(DivergentBarrier) as caught:
        step(two_barriers, (1, 1, 1), 2, zeros(1))
    assert (
        f"thread (0, 0, 0) waits at the barrier in line {here}; thread (1, 0, 0) waits at the "
        f"barrier in line {there}; but"
    ) in caught.value.sentence
    assert [place.line for place in caught.value.places] == [here, there]


def test_one_barrier_called_from_two_lines_is_not_one():
    with pytest.raises(DivergentBarrier) as caught:
        step(two_calls, 1, 10, zeros(1))
    barrier, other = line(wait_for_all, "syncthreads"), line(two_calls, "# another")
    assert (
        f"threads (5, 0, 0), (6, 0, 0), (7, 0, 0) and 2 more wait at the barrier in line "
        f"{barrier}, called from line {other}"
    ) in caught.value.sentence


@cuda.jit
def shifted(x, out, by):
    out[cuda.threadIdx.x] = x[1, cuda.threadIdx.x + by]


@cuda.jit
def updates(x):
    cuda.atomic.add(x, 0, 1)


@cuda.jit
def part_of(x):
    x[1, 2][cuda.threadIdx.x] = 1


def test_reads_out_of_bounds_are_refused():
    where = f"in line {line(shifted, 'out[')}, out of bounds"
    with pytest.raises(OutOfBounds) as caught:
        step(shifted, 1, 3, zeros(2, 3), zeros(3), 1)
    assert caught.value.sentence == (
        f"thread (2, 0, 0) of block (0, 0, 0) reads x[1, 3] {where}: 3 is not below 3 "
        f"(global array x of shape (2, 3), kernel shifted)"
    )
    with pytest.raises(OutOfBounds) as caught:
        step(shifted, 1, 1, zeros(1, 3), zeros(3), -1)
    assert caught.value.sentence == (
        f"thread (0, 0, 0) of block (0, 0, 0) reads x[1, -1] {where}: 1 is not below 1 and -1 is "
        f"negative, and CUDA does not count from the end "
        f"(global array x of shape (1, 3), kernel shifted)"
    )


def test_writes_out_of_bounds_are_refused():
    with pytest.raises(OutOfBounds, match=r"writes out\[2\]"):
        step(shifted, 1, 3, zeros(2, 3), zeros(2), 0)
    with pytest.raises(OutOfBounds, match=r"writes x\[1, 2, 3\] .* 3 is not below 3"):
        step(part_of, 1, 4, zeros(2, 3, 3))
    with pytest.raises(OutOfBounds, match=r"atomically updates x\[0\]"):
        step(updates, 1, 1, zeros(0))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/tmp/ipykernel_123/456.py", "cell"),
        ("/tmp/ipython-input-456.py", "cell"),  # Colab's
        ("/home/ipykernel/mine.py", "mine.py"),
    ],
)
def test_a_notebook_s_cell_is_called_so_and_keeps_its_line(monkeypatch, file, name):
    cell = "@cuda.jit\ndef writes(x):\n    x[9] = 1\n"
    monkeypatch.setitem(linecache.cache, file, (len(cell), None, cell.splitlines(True), file))
    names = {"cuda": cuda}
    exec(compile(cell, file, "exec"), names)
    with pytest.raises(OutOfBounds) as caught:
        step(names["writes"], 1, 1, zeros(1))
    assert str(caught.value).endswith(f"\n    {name}:3    x[9] = 1")


@cuda.jit
def over_some_lines(x):
    x[
        3,
        0,
    ] = 1


def test_of_several_lines_the_first_is_named():
    first = line(over_some_lines, "x[")
    with pytest.raises(OutOfBounds, match=rf"writes x\[3, 0\] in line {first},"):
        step(over_some_lines, 1, 1, zeros(2, 2))


@cuda.jit
def half_written(out):
    s = cuda.shared.array((2, 2), float32)
    t = cuda.threadIdx.x
    s[0, t] = 1
    cuda.syncthreads()
    out[t] = s[t, 0]


@cuda.jit
def counter_not_set(out):
    count = cuda.shared.array(1, int32)
    cuda.atomic.add(count, 0, 1)
    cuda.syncthreads()
    out[cuda.threadIdx.x] = count[0]


@cuda.jit
def sum_not_set(out):
    total = cuda.local.array(1, float32)
    total[0] += 1
    out[0] = total[0]


@cuda.jit
def left_by_another_block(out):
    s = cuda.shared.array(1, float32)
    if cuda.blockIdx.x == 0:
        s[0] = 1
    out[cuda.blockIdx.x] = s[0]


def test_shared_memory_that_nobody_wrote_is_not_to_be_read():
    with pytest.raises(Uninitialised) as caught:
        step(half_written, 1, 2, zeros(2))
    assert caught.value.sentence == (
        f"thread (1, 0, 0) of block (0, 0, 0) reads s[1, 0] in line "
        f"{line(half_written, 'out[t] =')}, which no thread of its block has written (shared array "
        f"s of shape (2, 2), kernel half_written)"
    )
    with pytest.raises(Uninitialised, match=r"atomically updates count\[0\]"):
        step(counter_not_set, 1, 2, zeros(2))
    assert len(step(counter_not_set, 1, 2, zeros(2), stop=False).findings) == 1


def test_local_memory_that_the_thread_did_not_write_is_not_to_be_read():
    with pytest.raises(Uninitialised, match=r"reads total\[0\] .* which it has not written"):
        step(sum_not_set, 1, 1, zeros(1))


@both_orders
def test_shared_memory_is_the_blocks_own(backwards):
    with pytest.raises(Uninitialised, match=r"of block \(1, 0, 0\) reads s\[0\]"):
        step(left_by_another_block, 2, 1, zeros(2), backwards=backwards)


@cuda.jit
def beside_the_array(x, out):
    t = cuda.threadIdx.x
    x[t + 1] = t
    out[t] = x[t - 1]


@cuda.jit
def never_written(out):
    s = cuda.shared.array(2, float32)
    n = cuda.local.array(2, int32)
    out[0] = s[0]
    out[1] = n[0]


def test_what_was_out_of_bounds_is_skipped_and_all_else_goes_on():
    x, out = zeros(1), zeros(1)
    log = step(beside_the_array, 1, 1, x, out, stop=False)
    assert [type(finding) for finding in log.findings] == [OutOfBounds, OutOfBounds]
    np.testing.assert_array_equal(x, 0)
    np.testing.assert_array_equal(out, np.nan)


def test_what_was_never_written_is_nan_or_0_where_there_is_no_nan():
    out = np.ones(2, np.float32)
    log = step(never_written, 1, 1, out, stop=False)
    assert [finding.array for finding in log.findings] == ["n", "s"]  # s, when all threads meet
    np.testing.assert_array_equal(out, [np.nan, 0])


@cuda.jit
def first_block_diverges(out):
    if cuda.blockIdx.x == 0 and cuda.threadIdx.x == 0:
        cuda.syncthreads()
    out[cuda.grid(1)] = 1


def test_after_a_divergent_barrier_the_next_block_goes_on():
    out = zeros(4)
    log = step(first_block_diverges, 2, 2, out, stop=False)
    assert [type(finding) for finding in log.findings] == [DivergentBarrier]
    np.testing.assert_array_equal(out, [0, 1, 1, 1])


@cuda.jit
def unwritten_and_divergent(out):
    s = cuda.shared.array(1, float32)
    out[cuda.threadIdx.x] = s[0]
    if cuda.threadIdx.x == 0:
        cuda.syncthreads()


def test_what_came_before_a_divergent_barrier_is_found_too():
    log = step(unwritten_and_divergent, 1, 2, zeros(2), stop=False)
    assert [type(finding) for finding in log.findings] == [DivergentBarrier, Uninitialised]


@cuda.jit
def two_arrays_in_a_line(out):
    a = cuda.shared.array(1, float32)
    b = cuda.shared.array(1, float32)
    out[0] = a[0] + b[0]


def test_one_line_about_two_arrays_is_two_findings():
    log = step(two_arrays_in_a_line, 1, 1, zeros(1), stop=False)
    assert [finding.array for finding in log.findings] == ["a", "b"]

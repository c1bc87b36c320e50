"""The stepper reports two threads at one element without an order, in every run."""

# pyright: reportOperatorIssue=false, reportOptionalSubscript=false

import numpy as np
import pytest
from numba import cuda, float32

from minivlm_kernels import stepper
from minivlm_kernels.launch import launch
from minivlm_kernels.stepper import Race, step
from tests.kernels.steps import both_orders, line, zeros


def neighbours(with_barrier):
    """Each thread reads what its neighbour wrote."""

    @cuda.jit
    def kernel(x, out):
        s = cuda.shared.array(4, float32)
        t = cuda.threadIdx.x
        s[t] = x[t]
        if with_barrier:
            cuda.syncthreads()
        out[t] = s[(t + 1) % 4]

    return kernel


@both_orders
def test_a_kernel_without_mistakes_gives_its_result_and_no_findings(backwards):
    x, out = np.arange(4, dtype=np.float32), zeros(4)
    log = step(neighbours(True), 1, 4, x, out, stop=False, backwards=backwards)
    assert log.findings == []
    np.testing.assert_array_equal(out, [1, 2, 3, 0])


def test_a_race_names_the_element_and_both_threads_and_lines():
    kernel = neighbours(False)
    with pytest.raises(Race) as caught:
        step(kernel, 1, 4, zeros(4), zeros(4))
    reads, writes = line(kernel, "out[t] = s["), line(kernel, "s[t] = x[t]")
    assert caught.value.sentence == (
        f"thread (0, 0, 0) reads s[1] in line {reads}, thread (1, 0, 0) writes s[1] in line "
        f"{writes}, and there is no barrier between (block (0, 0, 0), shared array s of shape "
        f"(4,), kernel neighbours.kernel)"
    )
    assert str(caught.value) == (
        f"{caught.value.sentence}\n"
        f"    test_stepper_races.py:{reads}    out[t] = s[(t + 1) % 4]\n"
        f"    test_stepper_races.py:{writes}    s[t] = x[t]"
    )


def test_a_race_is_reported_in_every_run():
    messages = set()
    for _ in range(20):
        with pytest.raises(Race) as caught:
            step(neighbours(False), 1, 4, zeros(4), zeros(4))
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_a_race_is_reported_whoever_comes_first():
    with pytest.raises(Race, match=r"\(3, 0, 0\) writes s\[3\] .* \(2, 0, 0\) reads s\[3\]"):
        step(neighbours(False), 1, 4, zeros(4), zeros(4), backwards=True)


@cuda.jit
def all_write_one(x):
    x[0] = cuda.threadIdx.x


@cuda.jit
def one_writes_and_returns(x, out):
    t = cuda.threadIdx.x
    if t == 0:
        x[1] = 5
        return
    out[t] = x[1]


@cuda.jit
def all_write_before_and_read_after(x):
    s = cuda.shared.array(1, float32)
    for i in range(2):
        if cuda.threadIdx.x == i:
            s[0] = i
        cuda.syncthreads()
        x[cuda.threadIdx.x, i] = s[0]


def test_two_writes_are_a_race_too():
    with pytest.raises(Race, match=r"\(0, 0, 0\) writes x\[0\] .*\(1, 0, 0\) writes x\[0\]"):
        step(all_write_one, 1, 2, zeros(1))


@both_orders
def test_a_thread_that_returned_can_still_race(backwards):
    with pytest.raises(Race, match=r"global array x"):
        step(one_writes_and_returns, 1, 2, zeros(2), zeros(2), backwards=backwards)


def test_a_barrier_at_the_end_of_a_loop_is_missed():
    with pytest.raises(Race) as caught:
        step(all_write_before_and_read_after, 1, 2, zeros(2, 2))
    assert caught.value.first.kind == "read"
    assert caught.value.second.kind == "write"
    assert caught.value.first.moment.interval == caught.value.second.moment.interval == 1


def test_one_thread_alone_cannot_race():
    step(all_write_one, 1, 1, zeros(1))
    step(all_write_before_and_read_after, 1, 1, zeros(1, 2))


@cuda.jit
def add_to_neighbour(x, shift):
    i = cuda.grid(1)
    x[i] += 1
    x[(i + shift) % 4] += 1


@cuda.jit
def plain_read_beside_atomics(x, out):
    cuda.atomic.add(x, 0, 1)
    out[cuda.grid(1)] = x[0]


@cuda.jit
def count_atomically(x):
    cuda.atomic.add(x, 0, 1)


def test_blocks_have_no_order():
    with pytest.raises(Race) as caught:
        step(add_to_neighbour, 4, 1, zeros(4), 1)
    both = line(add_to_neighbour, "x[i] += 1"), line(add_to_neighbour, "shift) %")
    assert caught.value.sentence == (
        f"thread (0, 0, 0) of block (0, 0, 0) writes x[1] in line {both[1]}, thread (0, 0, 0) of "
        f"block (1, 0, 0) reads x[1] in line {both[0]}, and the blocks of a launch have no order "
        f"(global array x of shape (4,), kernel add_to_neighbour)"
    )
    step(add_to_neighbour, 4, 1, zeros(4), 0)


def test_launches_have_an_order():
    x = zeros(4)
    with stepper.watch(stop=False) as log:
        for _ in range(2):
            launch(add_to_neighbour, (4,), (1,), x, np.int32(0))
    assert log.findings == []


def test_atomic_updates_do_not_race_with_each_other():
    x = zeros(1)
    step(count_atomically, 3, 2, x)
    assert x[0] == 6


@both_orders
def test_an_atomic_update_races_with_a_read(backwards):
    for grid, block in ((1, 2), (2, 1)):
        with pytest.raises(Race, match=r"(reads x\[0\].*)?atomically updates x\[0\]"):
            step(plain_read_beside_atomics, grid, block, zeros(1), zeros(2), backwards=backwards)


@cuda.jit
def one_updates(x, out, reads):
    if cuda.grid(1) == 0:
        cuda.atomic.add(x, 0, 1)
    elif reads:
        out[0] = x[0]
    else:
        x[0] = 5


@both_orders
@pytest.mark.parametrize(("reads", "does"), [(True, "reads"), (False, "writes")])
def test_an_atomic_update_races_with_whoever_is_not(reads, does, backwards):
    for grid, block in ((1, 2), (2, 1)):
        with pytest.raises(Race) as caught:
            step(one_updates, grid, block, zeros(1), zeros(1), reads, backwards=backwards)
        kinds = caught.value.first.kind, caught.value.second.kind
        assert set(kinds) == {"atomic", does[:-1]}


@cuda.jit
def through_global_memory(x, out):
    t = cuda.threadIdx.x
    x[t] = t
    cuda.syncthreads()
    out[t] = x[1 - t]


@both_orders
def test_a_barrier_orders_global_memory_within_a_block(backwards):
    out = zeros(2)
    step(through_global_memory, 1, 2, zeros(2), out, backwards=backwards)
    np.testing.assert_array_equal(out, [1, 0])


@cuda.jit
def turn(a, b):
    i, j = cuda.grid(2)
    a[i, j] = b[i, j]


def test_views_of_one_array_are_one_array():
    x = zeros(2, 2)
    step(turn, 1, (2, 2), x, x)
    with pytest.raises(Race, match=r"\(1, 0, 0\) writes a\[1, 0\] .*\) reads b\[0, 1\]"):
        step(turn, 1, (2, 2), x, x.T)


def test_all_findings_can_be_collected():
    out = zeros(4)
    log = step(neighbours(False), 1, 4, np.ones(4, np.float32), out, stop=False)
    (race,) = log.findings
    assert isinstance(race, Race)
    assert race.times == 4
    assert "Race (4 times): thread (0, 0, 0) reads s[1]" in log.summary()
    np.testing.assert_array_equal(out, [np.nan, np.nan, np.nan, 1])  # what one order gives


def test_the_same_finding_stops_a_second_time():
    x = zeros(1)
    with stepper.watch() as log:
        for _ in range(2):
            with pytest.raises(Race):
                launch(all_write_one, (1,), (2,), x)
    assert [finding.times for finding in log.findings] == [2]

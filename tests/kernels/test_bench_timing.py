"""Turns, medians and what becomes of those that fail."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minivlm_kernels.benchmark.device import CpuDevice, DeviceLost
from minivlm_kernels.benchmark.timing import (
    FEW,
    Contender,
    Failure,
    Inputs,
    Schedule,
    Times,
    attempt,
    time_in_turn,
)

SETS = [Inputs({}, {}) for _ in range(3)]


class Clock(CpuDevice):
    """The work says itself how long it takes."""

    def __init__(self):
        self.freed = 0
        self.lost = False

    def seconds(self, work) -> float:
        return work()  # pyright: ignore[reportReturnType]

    def finish(self):
        if self.lost:
            raise DeviceLost("gone")

    def free_memory(self):
        self.freed += 1


def contender(name, seconds, diary):
    """Writes down who ran on which set of inputs; `seconds(turn)` tells how long."""
    turns = iter(range(1000))

    def prepare(inputs):
        turn = next(turns)
        diary.append((name, next(i for i, each in enumerate(SETS) if each is inputs)))
        return lambda: seconds(turn)

    return Contender(name, True, prepare)


def race(contenders, schedule, device=None):
    seconds = {c.name: [] for c in contenders}
    failures = time_in_turn(device or Clock(), contenders, SETS, schedule, seconds)
    return seconds, failures


def test_each_round_gives_each_a_turn_on_the_same_inputs_and_another_one_the_first():
    diary = []
    abc = [contender(name, lambda turn: 1.0, diary) for name in "abc"]
    race(abc, Schedule(warm_ups=1, repeats=3))
    rounds = [diary[i : i + 3] for i in range(0, 12, 3)]
    assert ["".join(name for name, _ in each) for each in rounds] == ["abc", "bca", "cab", "abc"]
    assert [{which for _, which in each} for each in rounds] == [{0}, {1}, {2}, {0}]


def test_warm_ups_do_not_count():
    seconds, failures = race([contender("a", float, [])], Schedule(warm_ups=2, repeats=3))
    assert seconds == {"a": [2.0, 3.0, 4.0]}
    assert failures == {}


def test_a_slow_contender_has_few_turns_and_does_not_stop_the_others():
    slow, fast = contender("slow", lambda turn: 9.0, []), contender("fast", lambda turn: 1e-3, [])
    seconds, failures = race([slow, fast], Schedule(repeats=20, patience=10.0))
    assert len(seconds["slow"]) == FEW
    assert len(seconds["fast"]) == 20
    assert failures == {}


def test_who_fails_on_the_way_takes_no_further_turns():
    def fails_at_two(turn):
        if turn == 2:
            raise torch.OutOfMemoryError("40 GiB are not there\nand more")
        return 1.0

    device = Clock()
    both = [contender("big", fails_at_two, []), contender("small", lambda turn: 1.0, [])]
    seconds, failures = race(both, Schedule(warm_ups=0, repeats=6), device)
    assert len(seconds["big"]) == 2
    assert len(seconds["small"]) == 6
    assert failures == {"big": Failure("out of memory", "40 GiB are not there")}
    assert device.freed == 1


@pytest.mark.parametrize(
    ("error", "status", "why"),
    [
        (MemoryError(), "out of memory", "MemoryError"),
        (torch.OutOfMemoryError("no"), "out of memory", "no"),
        (RuntimeError("No available kernel. Aborting execution."), "not supported", "No available"),
        (RuntimeError("No viable backend was found."), "not supported", "No viable"),
        (ValueError("A5 takes float32"), "failed", "A5 takes float32"),
    ],
)
def test_a_failure_says_of_which_kind_it_is(error, status, why):
    def work(raised):
        raise raised

    failure = attempt(Clock(), work, error)
    assert failure.status == status
    assert failure.why.startswith(why)


def test_a_lost_device_ends_everything():
    device = Clock()

    def work():
        device.lost = True
        raise RuntimeError("an illegal memory access was encountered")

    with pytest.raises(DeviceLost):
        attempt(device, work)


def test_an_error_that_shows_when_the_work_is_done_is_a_failure_too():
    device = Clock()
    device.lost = True
    with pytest.raises(DeviceLost):
        attempt(device, lambda: 1.0)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30))
def test_times_are_the_median_and_the_middle_half(seconds):
    times = Times.of(seconds)
    lower, median, upper = np.percentile(seconds, [25, 50, 75])
    np.testing.assert_allclose([times.median, times.spread], [median, upper - lower], atol=1e-9)
    assert times.repeats == len(seconds)

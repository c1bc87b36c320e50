"""The stepper counts what kernels read and write, and logs events; launches go through it."""

# pyright: reportOperatorIssue=false, reportOptionalSubscript=false, reportIndexIssue=false

import inspect

import numpy as np
import pytest
from numba import cuda, float32

from minivlm_kernels import stepper
from minivlm_kernels.launch import launch, launched_by
from minivlm_kernels.stepper import Event, LogFull, step
from tests.kernels.steps import ones, zeros


@cuda.jit
def doubles_rows(x, out):
    s = cuda.shared.array(2, float32)
    t = cuda.threadIdx.x
    for j in range(3):
        s[t] = x[t, 0] + x[t, j]
        cuda.syncthreads()
        out[t, j] = s[0] + s[1]
        cuda.syncthreads()


def test_reads_and_writes_are_counted_by_array():
    log = step(doubles_rows, 1, 2, ones(2, 3), np.zeros((2, 3)))
    (launch_,) = log.launches
    x, out, s = (launch_.arrays[name] for name in ("x", "out", "s"))
    assert (x.reads, len(x.read_at), x.reuse, x.writes) == (12, 6, 2.0, 0)
    assert (out.reads, out.writes, len(out.written_at)) == (0, 6, 6)
    assert (s.space, s.reads, s.writes, len(s.read_at)) == ("shared", 12, 6, 2)
    assert (launch_.reads(), launch_.bytes_read()) == (12, 48)
    assert (launch_.writes(), launch_.bytes_written()) == (6, 48)
    assert (launch_.reads("shared"), launch_.bytes_written("shared")) == (12, 24)
    assert launch_.barriers == 6


def test_the_summary_is_a_table():
    log = step(doubles_rows, (2, 1), 2, ones(2, 3), np.zeros((2, 3)), stop=False)
    assert log.summary().splitlines()[:7] == [
        "launch 0: doubles_rows, (2, 1, 1) blocks of (2, 1, 1) threads, 6 barriers a block",
        "    array           memory        reads   elements reads each     writes    atomics",
        "    x               global           24          6        4.0          0          0",
        "    out             global            0          0        0.0         12          0",
        "    s               shared           24          2       12.0         12          0",
        "    global memory: 96 bytes read, 96 written",
        "    shared memory: 96 bytes read, 48 written",
    ]
    assert step(doubles_rows, 0, 2, ones(2, 3), ones(2, 3)).summary().endswith("nothing found")


@cuda.jit
def hand_over(x):
    s = cuda.shared.array(1, float32)
    t = cuda.threadIdx.x
    if t == 0:
        s[0] = x[0]
    cuda.syncthreads()
    x[t] = s[0]


def test_events_tell_all_in_order():
    log = step(hand_over, 1, 2, ones(2), events=True)
    first = inspect.getsourcelines(hand_over)[1]
    zero, one = (0, 0, 0), (1, 0, 0)

    def event(thread, interval, kind, line, space="", array="", index=()):
        return Event(0, zero, thread, interval, kind, space, array, index, first + line)

    assert log.events == [
        event(zero, 0, "read", 5, "global", "x", (0,)),
        event(zero, 0, "write", 5, "shared", "s", (0,)),
        event(zero, 0, "barrier", 6),
        event(one, 0, "barrier", 6),
        event(zero, 1, "read", 7, "shared", "s", (0,)),
        event(zero, 1, "write", 7, "global", "x", (0,)),
        event(one, 1, "read", 7, "shared", "s", (0,)),
        event(one, 1, "write", 7, "global", "x", (1,)),
    ]


def test_events_are_selected_by_what_they_are():
    with stepper.watch(events=True) as log:
        for _ in range(2):
            launch(doubles_rows, (1,), (2,), ones(2, 3), zeros(2, 3))
    assert log.touched("x", launch=1, thread=(1, 0, 0), interval=4) == [(1, 0), (1, 2)]
    assert log.touched("s", kind="write", thread=(0, 0, 0)) == [(0,)]
    assert log.touched("x", kind="write") == []
    assert len(log.select(kind="barrier", block=(0, 0, 0))) == 2 * 6 * 2
    with pytest.raises(ValueError, match="an event has no row; it has launch, block, thread,"):
        log.select(row=0)


def test_a_log_that_is_full_says_so():
    with pytest.raises(LogFull, match=r"full with 5 events: .* watch\(events=50\)"):
        step(hand_over, 1, 2, ones(2), events=5)
    with pytest.raises(LogFull):
        step(hand_over, 1, 2, ones(2), events=7)
    step(hand_over, 1, 2, ones(2), events=8)


def test_a_log_without_events_says_so():
    log = step(hand_over, 1, 2, ones(2))
    with pytest.raises(ValueError, match=r"kept no events; watch\(events=True\)"):
        log.touched("x")


def test_backwards_is_backwards():
    log = step(hand_over, 2, 2, ones(4), events=True, stop=False, backwards=True)
    order = [(event.block[0], event.thread[0]) for event in log.select(kind="barrier")]
    assert order == [(1, 1), (1, 0), (0, 1), (0, 0)]


@cuda.jit
def adds_one(out):
    out[0] += 1


def test_watch_takes_over_launches_and_gives_them_back():
    out, others = zeros(1), []
    with launched_by(lambda *launched: others.append(launched)):
        with stepper.watch() as log:
            launch(adds_one, (1,), (1,), out)
        launch(adds_one, (1,), (1,), out)
    assert [each.kernel for each in log.launches] == ["adds_one"]
    assert out[0] == 1
    assert len(others) == 1

"""Runs Numba kernels one step at a time, in one thread of one process, and sees what goes wrong.

    from minivlm_kernels import stepper
    with stepper.watch() as log:
        o, lse = a3_flash.forward(q, k, v, tile=4)
    print(log.summary())

Within `watch`, `launch` hands every kernel to the stepper, which rewrites its source: a barrier
becomes a `yield`. Blocks run one after another, and in a block each thread runs up to a barrier
before the next thread does, always in the same order; so one run tells as much as a thousand. It
raises what it finds at once:

- `Race`: two threads use one element, at least one writes, and no barrier lies between. Whether it
  is seen does not depend on the order in which the threads run.
- `DivergentBarrier`: some threads of a block wait at a barrier that others do not reach.
- `OutOfBounds`: an index is negative or too great.
- `Uninitialised`: shared or local memory is read that nobody wrote.

The log counts reads and writes, by array. Operations it does not count: a number once read is
Python's or NumPy's, and nobody watches it.

Lines and variables stay those of the file, so any debugger works: `breakpoint()` in a kernel, a
breakpoint in an editor, or `pdb_at=Thread(block=0, thread=3)`. There `n` goes to this thread's next
line, also across a barrier, `s` at a barrier to the next thread that runs, `p cuda.threadIdx` says
who that is, and `p sk` shows an array; looking counts as no read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from minivlm.tensor import Array
from minivlm_kernels.launch import launch, launched_by
from minivlm_kernels.stepper.debug import Debugger
from minivlm_kernels.stepper.findings import (
    DivergentBarrier,
    Finding,
    OutOfBounds,
    Race,
    Uninitialised,
)
from minivlm_kernels.stepper.log import Event, Launch, Log, LogFull, Traffic
from minivlm_kernels.stepper.places import Index, Thread, three
from minivlm_kernels.stepper.run import Run

__all__ = [
    "DivergentBarrier",
    "Event",
    "Finding",
    "Launch",
    "Log",
    "LogFull",
    "OutOfBounds",
    "Race",
    "Thread",
    "Traffic",
    "Uninitialised",
    "step",
    "watch",
]


@contextmanager
def watch(
    *,
    stop: bool = True,
    events: bool | int = False,
    pdb_at: Thread | None = None,
    backwards: bool = False,
) -> Iterator[Log]:
    """Within, every `minivlm_kernels.launch.launch` runs in the stepper.

    Args:
        stop: raise the first finding; otherwise go on, and find all in `log.findings`.
        events: keep each access and barrier in `log.events`; a number says how many at most.
        pdb_at: the thread at whose first line pdb stops, in each launch.
        backwards: run the last block and the last thread first. A kernel without races gives the
            same result.

    Yields:
        The log of all launches within.

    Raises:
        Finding: see above; the rest of the launch does not run.
        LogFull: there are more events than the log was to keep.
    """
    log = Log(stop, events)
    debugger = None if pdb_at is None else Debugger(pdb_at)

    def runner(kernel: object, grid: Index, block: Index, arguments: Sequence[object]) -> None:
        sizes = three(grid, 1), three(block, 1)
        Run(kernel, *sizes, arguments, log, debugger).all_blocks(backwards)

    with launched_by(runner):
        yield log
    if debugger is not None:
        debugger.check()


def step(
    kernel: object,
    grid: int | Index,
    block: int | Index,
    *arguments: Array | np.generic,
    stop: bool = True,
    events: bool | int = False,
    pdb_at: Thread | None = None,
    backwards: bool = False,
) -> Log:
    """Run one kernel in the stepper.

    Args:
        kernel: a function, or what `numba.cuda.jit` made of one.
        grid: blocks along x, y, z; the last ones may be left out.
        block: threads along x, y, z.
        *arguments: NumPy arrays, which the kernel may write, and scalars.
        stop: see `watch`, as for all that follow.
        events: see there.
        pdb_at: see there.
        backwards: see there.

    Returns:
        What was seen.

    Raises:
        Finding: see `watch`.
    """
    with watch(stop=stop, events=events, pdb_at=pdb_at, backwards=backwards) as log:
        launch(kernel, three(grid, 1), three(block, 1), *arguments)
    return log

"""One launch: blocks one after another, and in a block each thread in turn up to a barrier."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType, GeneratorType

import numpy as np

from minivlm_kernels.stepper.debug import Debugger
from minivlm_kernels.stepper.findings import DivergentBarrier, Finding
from minivlm_kernels.stepper.language import Cuda
from minivlm_kernels.stepper.log import Launch, Log, LogFull
from minivlm_kernels.stepper.memory import Memory
from minivlm_kernels.stepper.places import BARRIER, Dim, Moment, Place
from minivlm_kernels.stepper.rewrite import Steps, python_function, rewritten

WARP = 32  # threads
MOST_THREADS = 1024  # of a block, on every GPU


@dataclass(eq=False)
class Strand:
    """A thread of a block, as far as it has come.

    Attributes:
        thread: which one.
        warp: which 32 threads of the block it belongs to.
        steps: what is left of it, a generator that stops at each barrier.
        passed: how many barriers of its warp it has passed.
        whom: who must meet at the barrier where it waits, "block" or "warp"; None once it has
            returned.
        lines: where that barrier is, and from where it was called.
    """

    thread: Dim
    warp: int
    steps: Steps
    passed: int = 0
    whom: str | None = None
    lines: tuple[Place, ...] = ()


class Run:
    """A launch, on its way."""

    def __init__(
        self,
        kernel: object,
        grid: Dim,
        block: Dim,
        arguments: Sequence[object],
        log: Log,
        debugger: Debugger | None = None,
    ):
        """Ready to go.

        Args:
            kernel: a function, or what Numba made of one.
            grid: blocks along x, y, z.
            block: threads along x, y, z.
            arguments: NumPy arrays, which the kernel may write, and scalars.
            log: is told what happens.
            debugger: stops in a thread.
        """
        function = kernel if isinstance(kernel, FunctionType) else python_function(kernel)
        if function is None:
            raise TypeError(f"{kernel!r} is neither a function nor what numba.cuda.jit made of one")
        parameters = tuple(inspect.signature(function).parameters)
        name = function.__qualname__.replace(".<locals>", "")
        if len(parameters) != len(arguments):
            raise TypeError(
                f"kernel {name} takes {len(parameters)} arguments ({', '.join(parameters)}), and "
                f"was given {len(arguments)}"
            )
        threads = block.x * block.y * block.z
        if threads > MOST_THREADS:
            raise ValueError(
                f"kernel {name} is launched with blocks of {block}, which is {threads} threads, "
                f"and a block has no more than {MOST_THREADS}"
            )
        code = function.__code__
        place = Place(code.co_filename, code.co_firstlineno)
        self.log = log
        self.launch = Launch(name, place, grid, block)
        self.log.launches.append(self.launch)
        self.memory = Memory(self.launch, log)
        self.cuda = Cuda(grid, block, self.memory)
        self.debugger = debugger
        self.kernel = rewritten(function).as_kernel(self.cuda, self._first_line)
        self.arguments = tuple(map(self.memory.given, parameters, arguments))

    def all_blocks(self, backwards: bool) -> None:
        """Run the grid; backwards, the last block and the last thread of each come first."""
        turn = -1 if backwards else 1
        with np.errstate(all="ignore"):  # a GPU divides by zero without a word
            for block in _all(self.launch.grid)[::turn]:
                self.cuda.blockIdx = block
                self.memory.begin_block()
                strands = [
                    Strand(thread, number // WARP, self.kernel(*self.arguments))
                    for number, thread in enumerate(_all(self.launch.block))
                ]
                try:
                    self._one_block(strands[::turn])
                except DivergentBarrier as finding:
                    self.log.report(finding)  # if that does not raise, the other blocks go on
                    self.memory.end_interval()

    def _one_block(self, strands: list[Strand]) -> None:
        """Each thread up to the block's barrier, again and again, until all return."""
        warps: dict[int, list[Strand]] = {}
        for strand in strands:
            warps.setdefault(strand.warp, []).append(strand)
        interval = 0
        while True:
            for warp in warps.values():
                self._one_warp(warp, interval)
            self._meet(strands, "block")
            self.memory.end_interval()
            if strands[0].whom is None:
                return
            self.launch.barriers += 1
            interval += 1

    def _one_warp(self, strands: list[Strand], interval: int) -> None:
        """Each thread up to the block's barrier or its end, past the warp's own barriers."""
        while True:
            for strand in strands:
                self._advance(strand, interval)
            if all(strand.whom != "warp" for strand in strands):
                return
            self._meet(strands, "warp")
            for strand in strands:
                strand.passed += 1

    def _advance(self, strand: Strand, interval: int) -> None:
        """One thread up to its next barrier."""
        block = self.cuda.blockIdx
        self.cuda.threadIdx = strand.thread
        moment = Moment(block, strand.thread, strand.warp, interval, strand.passed)
        self.memory.moment = moment
        try:
            strand.whom = next(strand.steps)
        except StopIteration:
            strand.whom, strand.lines = None, ()
            return
        except Exception as error:
            if not isinstance(error, Finding | LogFull):
                error.add_note(
                    f"in thread {strand.thread} of block {block}, kernel {self.launch.kernel}"
                )
            raise
        strand.lines = _waits_at(strand.steps)
        if self.log.keeps_events:
            self.log.record(moment, BARRIER, strand.lines[0].line)

    def _meet(self, strands: list[Strand], group: str) -> None:
        """All of them wait at one barrier, or have returned."""
        waiting: dict[tuple[Place, ...], list[Dim]] = {}
        for strand in strands:
            waiting.setdefault(strand.lines, []).append(strand.thread)
        if len(waiting) > 1:
            raise DivergentBarrier(self.launch.kernel, self.cuda.blockIdx, group, waiting)

    def _first_line(self) -> None:
        if self.debugger is not None:
            self.debugger.look(self.memory.moment, sys._getframe(1))


def _all(size: Dim) -> list[Dim]:
    """Every index in a grid or block; x runs fastest, as the hardware numbers threads."""
    return [Dim(x, y, z) for z in range(size.z) for y in range(size.y) for x in range(size.x)]


def _waits_at(steps: object) -> tuple[Place, ...]:
    """The line of the barrier, then the lines that called the device functions it is in."""
    lines = []
    while isinstance(steps, GeneratorType) and (frame := steps.gi_frame):
        lines.append(Place(frame.f_code.co_filename, frame.f_lineno))
        steps = steps.gi_yieldfrom
    return tuple(reversed(lines))

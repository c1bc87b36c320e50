"""What an assembler tells of each kernel: registers, spills, stack, shared memory."""

from __future__ import annotations

import re
from dataclasses import dataclass

ENTRY = re.compile(r"Compiling entry function '(\S+)' for '\w+'")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")
TOO_MUCH_SHARED = re.compile(
    r"uses too much shared data \((0x[0-9a-f]+) bytes, (0x[0-9a-f]+) max\)"
)
NEEDS_NEWER = re.compile(r"requires \.target sm_\d+")


class CompileError(Exception):
    """A compiler refused a kernel; the message is its own sentence, with file and line."""


class TooOld(CompileError):
    """The code asks for what this kind of GPU does not have."""


@dataclass(frozen=True)
class Figures:
    """What one kernel takes of a GPU.

    Attributes:
        registers: of a thread.
        spilled: bytes that a thread moves to memory because its registers do not suffice.
        stack: bytes of a thread in memory: what is spilled, and arrays indexed by a variable.
        shared: bytes of a block's shared memory; with what a launch adds, where one is known.
        threads: of a block, as it is launched; 0 where no launch is known.
        warps: that a multiprocessor holds at once; likewise.
    """

    registers: int
    spilled: int
    stack: int
    shared: int
    threads: int = 0
    warps: int = 0


@dataclass(frozen=True)
class Compiled:
    """Code for one kind of GPU: its PTX text, and the figures of each kernel in it."""

    ptx: str
    figures: dict[str, Figures]


def read_report(report: str) -> dict[str, Figures]:
    """The figures of each kernel in what the assembler wrote under `-v`."""
    figures = {}
    _, *parts = ENTRY.split(report)
    for entry, part in zip(parts[::2], parts[1::2], strict=True):
        # A function that was not inlined has a line of its own; the kernel's carries its name.
        frame = FRAME.search(part, part.index(f"Function properties for {entry}"))
        used = USED.search(part)
        if frame is None or used is None:
            raise CompileError(
                f"the assembler's report tells no figures of {entry}: {part.strip()}"
            )
        stack, spilled = map(int, frame.groups())
        registers, shared = (int(number or 0) for number in used.groups())
        figures[entry] = Figures(registers, spilled, stack, shared)
    return figures


def refusal(log: str) -> CompileError:
    """The one line of a compiler's or an assembler's log that says what is wrong."""
    shared = TOO_MUCH_SHARED.search(log)
    if shared:
        asked, limit = (int(number, 16) for number in shared.groups())
        return CompileError(f"{asked} bytes of static shared memory, and a kernel may have {limit}")
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    line = next((line for line in lines if "error" in line), " ".join(lines))
    return TooOld(line) if NEEDS_NEWER.search(line) else CompileError(line)

"""Words for what happened where: which thread, which line, which element of which array."""

from __future__ import annotations

import linecache
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import NamedTuple

READ, WRITE, ATOMIC, BARRIER = "read", "write", "atomic", "barrier"
GLOBAL, SHARED, LOCAL = "global", "shared", "local"

Index = tuple[int, ...]


class Dim(NamedTuple):
    """Three numbers along x, y, z: how many blocks or threads, or which of them."""

    x: int
    y: int
    z: int

    def __str__(self):
        return f"({self.x}, {self.y}, {self.z})"


class Thread(NamedTuple):
    """One thread of one block, each by its index along x, y, z; the last ones may be left out."""

    block: int | Index
    thread: int | Index


class Place(NamedTuple):
    """A line of a file, or of a notebook's cell."""

    file: str
    line: int

    @property
    def text(self) -> str:
        """File, number and what is written there.

        A notebook's cell is a file only by name, one that no one could open: it is called "cell".
        """
        path = Path(self.file)
        in_a_notebook = path.parent.name.startswith("ipykernel_")
        in_colab = path.name.startswith("ipython-input-")
        name = "cell" if in_a_notebook or in_colab else path.name
        written = linecache.getline(self.file, self.line).strip()
        return f"{name}:{self.line}    {written}"


@dataclass(frozen=True, eq=False, slots=True)
class Moment:
    """One thread between two barriers.

    Attributes:
        block: the thread's block.
        thread: the thread in its block.
        warp: which 32 threads of the block it belongs to.
        interval: how many barriers of the block came before.
        warp_interval: how many barriers of the warp came before.
    """

    block: Dim
    thread: Dim
    warp: int
    interval: int
    warp_interval: int

    def unordered(self, other: Moment) -> bool:
        """Nothing says which of the two comes first."""
        if self.block != other.block:
            return True
        if self.interval != other.interval or self.thread == other.thread:
            return False
        return self.warp != other.warp or self.warp_interval == other.warp_interval


class Home(NamedTuple):
    """An array, as a kernel knows it.

    Attributes:
        kernel: the kernel's name.
        space: "global", "shared" or "local".
        array: what the kernel calls it.
        shape: its sizes.
    """

    kernel: str
    space: str
    array: str
    shape: Index

    def __str__(self):
        return f"{self.space} array {self.array} of shape {self.shape}, kernel {self.kernel}"


class Access(NamedTuple):
    """A thread reads or writes an element of an array, by an instruction of a kernel."""

    kind: str
    moment: Moment
    home: Home
    at: Index
    code: CodeType
    offset: int

    @property
    def element(self) -> str:
        """As in the source, with numbers for the indices."""
        return f"{self.home.array}[{', '.join(map(str, self.at))}]"

    @property
    def place(self) -> Place:
        """The line of the instruction, looked up only when someone asks."""
        for start, end, line in self.code.co_lines():
            if start <= self.offset < end and line is not None:
                return Place(self.code.co_filename, line)
        return Place(self.code.co_filename, self.code.co_firstlineno)


def three(given: int | Index, fill: int) -> Dim:
    """Numbers along x, y, z, of which the last may be missing."""
    numbers = tuple(given) if isinstance(given, Iterable) else (given,)
    if not 1 <= len(numbers) <= 3:
        raise ValueError(f"{given} is not one, two or three numbers along x, y, z")
    return Dim(*(int(n) for n in numbers), *[fill] * (3 - len(numbers)))


def listed(things: Iterable[object], most: int = 4) -> str:
    """`a, b and c`; of many, the first few and how many more."""
    words = [str(thing) for thing in things]
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last

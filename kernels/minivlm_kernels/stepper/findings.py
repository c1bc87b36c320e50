"""What the stepper finds, each said in one sentence, with the lines of code below it."""

from __future__ import annotations

from collections.abc import Iterable

from minivlm_kernels.stepper.places import (
    ATOMIC,
    READ,
    SHARED,
    WRITE,
    Access,
    Dim,
    Place,
    listed,
)

DOES = {READ: "reads", WRITE: "writes", ATOMIC: "atomically updates"}


class Finding(Exception):
    """A mistake in a kernel: on a GPU it would go unnoticed, hang, or be wrong now and then.

    Attributes:
        sentence: what was found.
        places: the lines of code that it is about, whose text the message shows too.
        array: the array that it is about, as the kernel calls it.
        times: how often it was found, in other threads or for other elements.
    """

    def __init__(self, sentence: str, places: Iterable[Place], array: str = ""):
        self.sentence = sentence
        self.array = array
        self.places = tuple(dict.fromkeys(places))
        self.times = 1
        super().__init__("\n    ".join([sentence, *(place.text for place in self.places)]))

    @property
    def key(self) -> object:
        """The same for findings that are one mistake, seen in other threads or elements."""
        return type(self), self.array, frozenset(self.places)


class Race(Finding):
    """Two threads use one element, at least one writes, and nothing says who comes first."""

    def __init__(self, first: Access, second: Access):
        self.first, self.second = first, second
        same_block = first.moment.block == second.moment.block
        one, other = (_who(access, not same_block) for access in (first, second))
        if same_block:
            order, where = "there is no barrier between", f"block {first.moment.block}, "
        else:
            order, where = "the blocks of a launch have no order", ""
        super().__init__(
            f"{one}, {other}, and {order} ({where}{second.home})",
            [first.place, second.place],
            second.home.array,
        )


class OutOfBounds(Finding):
    """A thread uses an element that is not there."""

    def __init__(self, access: Access):
        self.access = access
        wrong = [
            f"{i} is negative, and CUDA does not count from the end"
            if i < 0
            else f"{i} is not below {size}"
            for i, size in zip(access.at, access.home.shape, strict=True)
            if not 0 <= i < size
        ]
        super().__init__(
            f"{_who(access)}, out of bounds: {listed(wrong)} ({access.home})",
            [access.place],
            access.home.array,
        )


class Uninitialised(Finding):
    """A thread reads an element of shared or local memory that was never written."""

    def __init__(self, access: Access):
        self.access = access
        nobody = "no thread of its block has" if access.home.space == SHARED else "it has not"
        super().__init__(
            f"{_who(access)}, which {nobody} written ({access.home})",
            [access.place],
            access.home.array,
        )


class DivergentBarrier(Finding):
    """Threads wait at a barrier that others do not reach."""

    def __init__(
        self, kernel: str, block: Dim, group: str, waiting: dict[tuple[Place, ...], list[Dim]]
    ):
        """All threads of a block, or of a warp.

        Args:
            kernel: its name.
            block: whose threads they are.
            group: "block" or "warp".
            waiting: threads by where they wait: the line of the barrier, then the lines from which
                the function with it was called; no line where they have returned.
        """
        self.kernel, self.block, self.waiting = kernel, block, waiting
        groups = "; ".join(_wait(threads, lines) for lines, threads in waiting.items())
        super().__init__(
            f"{groups}; but all threads of a {group} must come to the same barrier "
            f"(block {block}, kernel {kernel})",
            [line for lines in waiting for line in lines],
        )


def _who(access: Access, block: bool = True) -> str:
    of_block = f" of block {access.moment.block}" if block else ""
    return (
        f"thread {access.moment.thread}{of_block} {DOES[access.kind]} {access.element} "
        f"in line {access.place.line}"
    )


def _wait(threads: list[Dim], lines: tuple[Place, ...]) -> str:
    one = len(threads) == 1
    who = f"thread{'' if one else 's'} {listed(threads)}"
    if not lines:
        return f"{who} {'has' if one else 'have'} returned"
    called = "".join(f", called from line {line.line}" for line in lines[1:])
    return f"{who} wait{'s' if one else ''} at the barrier in line {lines[0].line}{called}"

"""Threads of a GPU's kernel in slow motion: who does what when, and who owns what.

Everything here is drawn from events, one for each time that a thread touches an element of an
array or waits at a barrier. The log of `minivlm_kernels.stepper` keeps such events; any record with
the attributes of `Event` will do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from minivlm.viz.style import BLUE, FONT, GRAY, GREEN, ORANGE, new_figure
from minivlm.viz.svg import INK

Index = tuple[int, ...]
INKS = {"read": BLUE, "write": ORANGE, "atomic": GREEN, "barrier": GRAY}
DOES = {"read": "reads", "write": "writes", "atomic": "atomically updates", "barrier": "waits"}
MOST_STEPS, MOST_THREADS = 24, 32  # more could not be read


class Event(Protocol):
    """What a thread does to an element, or that it waits; the names are the stepper's."""

    @property
    def block(self) -> Index:
        """Index along x, y, z."""
        ...

    @property
    def thread(self) -> Index:
        """Index along x, y, z."""
        ...

    @property
    def interval(self) -> int:
        """How many barriers the block had passed."""
        ...

    @property
    def kind(self) -> str:
        """One of "read", "write", "atomic" and "barrier"."""
        ...

    @property
    def array(self) -> str:
        """What the kernel calls it."""
        ...

    @property
    def index(self) -> Index:
        """Of the element."""
        ...

    @property
    def line(self) -> int:
        """Of the kernel's file."""
        ...


def lockstep(events: Iterable[Event]) -> list[list[Event]]:
    """The events in steps: in each, what threads do that run the same line side by side.

    Threads are stepped through one after another, and hardware runs those of a warp together. So
    what different threads do for the nth time at the same line is put into one step.
    """
    by_thread: dict[tuple[Index, Index], list[Event]] = {}
    for event in events:
        by_thread.setdefault((event.block, event.thread), []).append(event)
    order: list[tuple] = []
    steps: dict[tuple, list[Event]] = {}
    for own in by_thread.values():
        times: Counter[tuple] = Counter()
        place = 0
        for event in own:
            what = event.interval, event.line, event.kind, event.array
            times[what] += 1
            key = (*what, times[what])
            if key in steps:
                place = order.index(key) + 1
            else:  # after what this thread did before
                order.insert(place, key)
                place += 1
            steps.setdefault(key, []).append(event)
    return [steps[key] for key in order]


def conflicts(events: Iterable[Event]) -> list[Event]:
    """Those that race: two threads at one element with no barrier between, and one changes it."""
    meetings: dict[tuple, list[Event]] = {}
    for event in events:
        if event.kind != "barrier":
            where = event.block, event.interval, event.array, event.index
            meetings.setdefault(where, []).append(event)
    return [e for met in meetings.values() for e in met if any(_race(e, other) for other in met)]


def _race(one: Event, other: Event) -> bool:
    kinds = {one.kind, other.kind}
    return one.thread != other.thread and kinds not in ({"read"}, {"atomic"})


def timeline(events: Sequence[Event]) -> Figure:
    """What each thread of a block does, step by step; a black frame is a race.

    A thread's steps follow each other from left to right. Between threads only the barriers, in
    grey, say what comes before what.

    Args:
        events: of one block, all of one launch.

    Raises:
        ValueError: there are none, or too many to be read, or they are of several blocks.
    """
    of_one(events, "block")
    steps = lockstep(events)
    threads = sorted({event.thread for event in events}, key=lambda thread: thread[::-1])
    if len(steps) > MOST_STEPS or len(threads) > MOST_THREADS:
        raise ValueError(f"{len(threads)} threads with {len(steps)} steps could not be read")
    racing = {id(event) for event in conflicts(events)}
    rows = {thread: row for row, thread in enumerate(threads)}
    longest = max(len(_element(event)) for event in events)
    cell = max(0.6, 0.085 * longest + 0.15)
    figure = new_figure(cell * len(steps) + 1.2, 0.36 * len(threads) + 1.0)
    axes = figure.subplots()
    for column, step in enumerate(steps):
        for event in step:
            row = rows[event.thread]
            waits = event.kind == "barrier"
            bar = Rectangle(
                (column - 0.46, row - (0.5 if waits else 0.4)),
                0.92,
                1 if waits else 0.8,
                facecolor=INKS[event.kind],
                edgecolor=INK if id(event) in racing else "none",
                linewidth=2.5 if id(event) in racing else 0,
            )
            axes.add_patch(bar)
            ink = "black" if event.kind == "write" else "white"
            words = "waits" if waits else _element(event)
            axes.text(column, row, words, ha="center", va="center", fontsize=FONT - 2, color=ink)
    axes.set_xlim(-0.6, len(steps) - 0.4)
    axes.set_ylim(len(threads) - 0.4, -0.6)
    axes.set_xticks(range(len(steps)), [str(1 + n) for n in range(len(steps))])
    axes.set_yticks(range(len(threads)), [name(thread, threads) for thread in threads])
    axes.set_xlabel("step")
    axes.set_ylabel("thread")
    seen = {event.kind for event in events}
    keys = [Patch(color=INKS[kind], label=DOES[kind]) for kind in INKS if kind in seen]
    if racing:
        keys.append(Patch(facecolor="none", edgecolor=INK, linewidth=2.5, label="race"))
    figure.legend(
        handles=keys, loc="outside upper right", ncols=5, frameon=False, fontsize=FONT - 1
    )
    bare(axes)
    return figure


def owners(events: Iterable[Event], shape: Index) -> Figure:
    """Who writes which element: a colour for each block, and the thread's number.

    Args:
        events: those of one array; of those that write an element, the last is shown.
        shape: of the array; one or two axes, where more are 1.

    Raises:
        ValueError: nobody writes.
    """
    writes = of_one([event for event in events if event.kind == "write"], "array")
    blocks = sorted({event.block for event in writes}, key=lambda block: block[::-1])
    threads = [event.thread for event in writes]
    rows, columns = flat(shape)
    figure = new_figure(min(10.5, 0.45 * columns + 1.2), 0.42 * rows + 1.1)
    axes = figure.subplots()
    colours = [BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#F0E442"]
    last = {int(np.ravel_multi_index(event.index, shape)): event for event in writes}
    for place, event in last.items():
        row, column = divmod(place, columns)
        number = blocks.index(event.block) % len(colours)
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=colours[number]))
        words = name(event.thread, threads)
        ink = "white" if number in (0, 2) else "black"
        axes.text(column, row, words, ha="center", va="center", fontsize=FONT - 1, color=ink)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xticks(range(columns))
    axes.set_yticks(range(rows) if rows > 1 else [])
    axes.set_xlabel(f"element of {writes[0].array}; the numbers in it are threads")
    keys = [
        Patch(color=colours[n % len(colours)], label=f"block {name(block, blocks)}")
        for n, block in enumerate(blocks)
    ]
    figure.legend(handles=keys, loc="outside upper left", ncols=6, frameon=False, fontsize=FONT - 1)
    bare(axes)
    return figure


def of_one(events: Sequence[Event], what: str) -> Sequence[Event]:
    """The events, if there are any and all are of one block, or of one array."""
    found = sorted({getattr(event, what) for event in events})
    if len(found) != 1:
        raise ValueError(f"events of one {what} make this picture, and these are of {found}")
    return events


def flat(shape: Index) -> tuple[int, int]:
    """Rows and columns of an array of which at most the last two axes are longer than 1."""
    if any(size > 1 for size in shape[:-2]):
        raise ValueError(f"an array of shape {shape} is not a matrix")
    *_, rows, columns = 1, 1, *shape
    return rows, columns


def _element(event: Event) -> str:
    return f"{event.array}[{','.join(map(str, event.index))}]" if event.index else ""


def name(index: Index, among: Iterable[Index]) -> str:
    """Its number along x, and along y and z where any of them has one."""
    used = [n for other in among for n in range(3) if other[n]]
    axes = 1 + max(used, default=0)
    return ",".join(map(str, index[:axes]))


def bare(axes: Axes) -> None:
    """No ticks' marks and no frame."""
    axes.tick_params(length=0, labelsize=FONT - 2)
    for side in axes.spines.values():
        side.set_visible(False)

"""Threads of a GPU's kernel in slow motion: who does what when, and who touches which memory.

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

from minivlm.viz.style import BLUE, FONT, GRAY, GREEN, ORANGE, RED, SEQUENTIAL, new_figure

Index = tuple[int, ...]
INKS = {"read": BLUE, "write": ORANGE, "atomic": GREEN, "barrier": GRAY}
DOES = {"read": "reads", "write": "writes", "atomic": "atomically updates", "barrier": "waits"}
MOST_STEPS, MOST_THREADS, MOST_ELEMENTS = 24, 32, 128  # more could not be read


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
    """What each thread of a block does, step by step; a red frame is a race.

    A thread's steps follow each other from left to right. Between threads only the barriers, in
    grey, say what comes before what.

    Args:
        events: of one block, all of one launch.

    Raises:
        ValueError: there are none, or too many to be read, or they are of several blocks.
    """
    _of_one(events, "block")
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
                edgecolor=RED if id(event) in racing else "none",
                linewidth=2.5 if id(event) in racing else 0,
            )
            axes.add_patch(bar)
            ink = "black" if event.kind == "write" else "white"
            words = "waits" if waits else _element(event)
            axes.text(column, row, words, ha="center", va="center", fontsize=FONT - 2, color=ink)
    axes.set_xlim(-0.6, len(steps) - 0.4)
    axes.set_ylim(len(threads) - 0.4, -0.6)
    axes.set_xticks(range(len(steps)), [str(1 + n) for n in range(len(steps))])
    axes.set_yticks(range(len(threads)), [_name(thread, threads) for thread in threads])
    axes.set_xlabel("step")
    axes.set_ylabel("thread")
    seen = {event.kind for event in events}
    keys = [Patch(color=INKS[kind], label=DOES[kind]) for kind in INKS if kind in seen]
    if racing:
        keys.append(Patch(facecolor="none", edgecolor=RED, linewidth=2.5, label="race"))
    figure.legend(handles=keys, loc="outside upper right", ncols=5, frameon=False)
    _bare(axes)
    return figure


def pieces(events: Iterable[Event], shape: Index, itemsize: int = 4, piece: int = 32) -> list[int]:
    """How many pieces of memory each step needs.

    Memory comes in pieces: who asks for a byte gets the 32 bytes that it lies in. What threads ask
    for in the same step is fetched once.

    Args:
        events: accesses to one array, by the threads of one warp.
        shape: of the array, which lies row after row.
        itemsize: bytes of an element.
        piece: bytes of a piece.
    """
    a_piece = piece // itemsize
    return [
        len({int(np.ravel_multi_index(event.index, shape)) // a_piece for event in step})
        for step in lockstep(events)
    ]


def memory_steps(
    parts: Sequence[tuple[str, Sequence[Event]]], shape: Index, itemsize: int = 4, piece: int = 32
) -> Figure:
    """Which thread touches which element in each step, along the memory.

    A line is a step, a place on it an element; blue with a thread's number is what the thread
    touches, orange what has to come along because memory comes in pieces.

    Args:
        parts: a title and accesses to one array by the threads of one block, for each panel.
        shape: of the array, which lies row after row.
        itemsize: bytes of an element.
        piece: bytes of a piece.

    Raises:
        ValueError: there is nothing to show, or too much, or events of several arrays or blocks.
    """
    size = int(np.prod(shape))
    if not parts or size > MOST_ELEMENTS:
        raise ValueError(f"{len(parts)} walks along {size} elements could not be read")
    a_piece = piece // itemsize
    many = [lockstep(_of_one(_of_one(events, "array"), "block")) for _, events in parts]
    heights = [len(steps) for steps in many]
    figure = new_figure(10.5, 0.21 * sum(heights) + 0.85 * len(parts))
    ratios = {"height_ratios": [height + 1 for height in heights]}
    panels = figure.subplots(len(parts), 1, squeeze=False, gridspec_kw=ratios)[:, 0]
    for axes, (title, events), steps in zip(panels, parts, many, strict=True):
        threads = [event.thread for event in events]
        needed = pieces(events, shape, itemsize, piece)
        for row, step in enumerate(steps):
            touched = {int(np.ravel_multi_index(event.index, shape)): event for event in step}
            for start in sorted({at // a_piece * a_piece for at in touched}):
                axes.add_patch(Rectangle((start, row - 0.5), a_piece, 1, color=ORANGE, alpha=0.45))
            for at, event in touched.items():
                axes.add_patch(Rectangle((at, row - 0.5), 1, 1, color=BLUE))
                axes.text(
                    at + 0.5,
                    row + 0.03,
                    _name(event.thread, threads),
                    ha="center",
                    va="center",
                    fontsize=FONT - 4,
                    color="white",
                )
            words = f"{needed[row]} piece{'s' if needed[row] > 1 else ''}"
            axes.text(size + 0.6, row, words, va="center", fontsize=FONT - 2)
        for edge in range(0, size + 1, a_piece):
            axes.axvline(edge, color=GRAY, linewidth=0.6)
        axes.set_xlim(0, size)
        axes.set_ylim(len(steps) - 0.5, -0.5)
        axes.set_xticks([*range(0, size + 1, a_piece)])
        axes.set_yticks(range(len(steps)), [str(1 + row) for row in range(len(steps))])
        axes.set_title(title, fontsize=FONT, loc="left")
        axes.set_ylabel("step")
        _bare(axes)
    panels[-1].set_xlabel(f"element of {parts[0][1][0].array}, as it lies in memory")
    return figure


def owners(events: Iterable[Event], shape: Index) -> Figure:
    """Who writes which element: a colour for each block, and the thread's number.

    Args:
        events: those of one array; of those that write an element, the last is shown.
        shape: of the array; one or two axes, where more are 1.

    Raises:
        ValueError: nobody writes.
    """
    writes = _of_one([event for event in events if event.kind == "write"], "array")
    blocks = sorted({event.block for event in writes}, key=lambda block: block[::-1])
    threads = [event.thread for event in writes]
    rows, columns = _flat(shape)
    figure = new_figure(min(10.5, 0.45 * columns + 1.2), 0.42 * rows + 1.1)
    axes = figure.subplots()
    colours = [BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#F0E442"]
    for event in writes:
        row, column = divmod(int(np.ravel_multi_index(event.index, shape)), columns)
        number = blocks.index(event.block) % len(colours)
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=colours[number]))
        words = _name(event.thread, threads)
        ink = "white" if number in (0, 2) else "black"
        axes.text(column, row, words, ha="center", va="center", fontsize=FONT - 1, color=ink)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xticks(range(columns))
    axes.set_yticks(range(rows) if rows > 1 else [])
    axes.set_xlabel(f"element of {writes[0].array}; the numbers in it are threads")
    keys = [
        Patch(color=colours[n % len(colours)], label=f"block {_name(block, blocks)}")
        for n, block in enumerate(blocks)
    ]
    figure.legend(handles=keys, loc="outside upper left", ncols=6, frameon=False)
    _bare(axes)
    return figure


def read_counts(events: Iterable[Event], shape: Index) -> np.ndarray:
    """How often each element of one array was read, in the array's shape."""
    counts = np.zeros(shape, int)
    for event in _of_one([event for event in events if event.kind == "read"], "array"):
        counts[event.index] += 1
    return counts


def heat_maps(parts: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Counts of reads side by side, one scale for all, each number in its cell.

    Args:
        parts: a title and counts for each map; one or two axes, where more are 1.

    Raises:
        ValueError: there is no map.
    """
    if not parts:
        raise ValueError("a heat map is made of counts")
    grids = [np.asarray(counts).reshape(_flat(np.shape(counts))) for _, counts in parts]
    top = max(1, *(int(grid.max()) for grid in grids))
    widths = [max(2, grid.shape[1]) for grid in grids]
    figure = new_figure(
        min(10.5, 0.42 * sum(widths) + 1.1 * len(grids)), 0.36 * max(map(len, grids)) + 1.0
    )
    ratios = {"width_ratios": widths}
    panels = figure.subplots(1, len(grids), squeeze=False, gridspec_kw=ratios)[0]
    for axes, (title, _), grid in zip(panels, parts, grids, strict=True):
        axes.imshow(grid, cmap=SEQUENTIAL, vmin=0, vmax=top)
        for (row, column), count in np.ndenumerate(grid):
            ink = "white" if count < 0.55 * top else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=ink)
        axes.set_title(title, fontsize=FONT)
        axes.set_xticks(range(grid.shape[1]))
        axes.set_yticks(range(len(grid)) if len(grid) > 1 else [])
        axes.tick_params(length=0, labelsize=FONT - 3)
    return figure


def _of_one(events: Sequence[Event], what: str) -> Sequence[Event]:
    """The events, if there are any and all are of one block, or of one array."""
    found = sorted({getattr(event, what) for event in events})
    if len(found) != 1:
        raise ValueError(f"events of one {what} make this picture, and these are of {found}")
    return events


def _flat(shape: Index) -> tuple[int, int]:
    """Rows and columns of an array of which at most the last two axes are longer than 1."""
    if any(size > 1 for size in shape[:-2]):
        raise ValueError(f"an array of shape {shape} is not a matrix")
    *_, rows, columns = 1, 1, *shape
    return rows, columns


def _element(event: Event) -> str:
    return f"{event.array}[{','.join(map(str, event.index))}]" if event.index else ""


def _name(index: Index, among: Iterable[Index]) -> str:
    """Its number along x, and along y and z where any of them has one."""
    axes = max(
        (max((n + 1 for n in range(3) if other[n]), default=1) for other in among), default=1
    )
    return ",".join(map(str, index[:axes]))


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0, labelsize=FONT - 2)
    for side in axes.spines.values():
        side.set_visible(False)

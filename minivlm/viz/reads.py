"""What threads of a GPU's kernel ask of memory: in which pieces it comes, and how often.

Drawn from events, as in `threads`. Memory comes in pieces: who asks for a byte gets the 32 bytes
that it lies in. What the threads of a warp ask for in the same step is fetched once.

Source: the CUDA C++ Best Practices Guide, "Coalesced Access to Global Memory".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minivlm.viz.style import BLUE, FONT, GRAY, ORANGE, SEQUENTIAL, new_figure
from minivlm.viz.threads import Event, Index, bare, flat, lockstep, name, of_one

MOST_ELEMENTS = 128  # along the memory; more could not be read


def pieces(events: Iterable[Event], shape: Index, itemsize: int = 4, piece: int = 32) -> list[int]:
    """How many pieces of memory each step needs.

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
    many = [lockstep(of_one(of_one(events, "array"), "block")) for _, events in parts]
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
                    name(event.thread, threads),
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
        bare(axes)
    panels[-1].set_xlabel(f"element of {parts[0][1][0].array}, as it lies in memory")
    return figure


def read_counts(events: Iterable[Event], shape: Index) -> np.ndarray:
    """How often each element of one array was read, in the array's shape."""
    counts = np.zeros(shape, int)
    for event in of_one([event for event in events if event.kind == "read"], "array"):
        counts[event.index] += 1
    return counts


def heat_maps(
    parts: Sequence[tuple[str, np.ndarray]], row: str = "row", column: str = "column"
) -> Figure:
    """Counts of reads side by side, one scale for all, each number in its cell.

    Args:
        parts: a title and counts for each map; one or two axes, where more are 1.
        row: what a row is.
        column: what a column is.

    Raises:
        ValueError: there is no map.
    """
    if not parts:
        raise ValueError("a heat map is made of counts")
    grids = [np.asarray(counts).reshape(flat(np.shape(counts))) for _, counts in parts]
    top = max(1, *(int(grid.max()) for grid in grids))
    widths = [max(2, grid.shape[1]) for grid in grids]
    figure = new_figure(
        min(10.5, 0.42 * sum(widths) + 1.1 * len(grids)), 0.36 * max(map(len, grids)) + 1.0
    )
    ratios = {"width_ratios": widths}
    panels = figure.subplots(1, len(grids), squeeze=False, gridspec_kw=ratios)[0]
    for axes, (title, _), grid in zip(panels, parts, grids, strict=True):
        axes.imshow(grid, cmap=SEQUENTIAL, vmin=0, vmax=top)
        for (y, x), count in np.ndenumerate(grid):
            ink = "white" if count < 0.55 * top else "black"
            axes.text(x, y, str(count), ha="center", va="center", fontsize=8, color=ink)
        axes.set_title(title, fontsize=FONT)
        axes.set_xlabel(column, fontsize=FONT - 1)
        axes.set_xticks(range(grid.shape[1]))
        axes.set_yticks(range(len(grid)) if len(grid) > 1 else [])
        axes.tick_params(length=0, labelsize=FONT - 3)
    panels[0].set_ylabel(row if len(grids[0]) > 1 else "", fontsize=FONT - 1)
    return figure

"""Attention worked through with numbers: queries, keys, scores, weights, values, output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minivlm.viz.style import FONT, SEQUENTIAL, by_hand, new_figure

CELL, GAP = 0.4, 0.14  # inches: side of one number's cell, and between two matrices


def attention_strip(
    parts: Sequence[tuple[str, np.ndarray]],
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> Figure:
    """Small matrices side by side, each number in its cell, bright where it is large.

    Args:
        parts: a title and a matrix for each, such as ("q", q), ("scores", s), ("weights", p).
            Each has its own scale of colours. Cells that are −∞ stay empty.
        rows: what to write beside the rows of the first matrix, such as the queries' words.
        columns: what to write above the columns of every matrix with as many columns.

    Raises:
        ValueError: there is no matrix, or one is none.
    """
    if not parts or any(matrix.ndim != 2 for _, matrix in parts):
        raise ValueError("a strip is made of matrices, at least one")
    widths = [matrix.shape[1] for _, matrix in parts]
    tallest = max(len(matrix) for _, matrix in parts)
    beside = 0.08 * max(map(len, rows)) + 0.25 if rows else 0.15
    below = 0.07 * max(map(len, columns)) + 0.2 if columns else 0.1
    width = CELL * sum(widths) + GAP * (len(parts) - 1)
    figure = new_figure(width + beside, CELL * tallest + 0.35 + below)
    ratios = {"width_ratios": widths}
    cells = figure.subplots(1, len(parts), squeeze=False, gridspec_kw=ratios)[0]
    for axes, (title, matrix) in zip(cells, parts, strict=True):
        _draw(axes, title, matrix)
        if columns and matrix.shape[1] == len(columns):
            axes.set_xticks(range(len(columns)), columns, rotation=60, fontsize=FONT - 2)
    if rows:
        cells[0].set_yticks(range(len(rows)), rows, fontsize=FONT - 2)
    return figure


def _draw(axes: Axes, title: str, matrix: np.ndarray) -> None:
    """One matrix; words on dark cells are white."""
    finite = np.where(np.isfinite(matrix), matrix, np.nan)
    low, high = np.nanmin(finite), np.nanmax(finite)
    axes.imshow(finite, cmap=SEQUENTIAL, vmin=low, vmax=high if high > low else low + 1)
    for (row, column), number in np.ndenumerate(finite):
        if np.isfinite(number):
            dark = number < low + 0.55 * (high - low)
            ink = "white" if dark else "black"
            axes.text(
                *(column, row, _in_three_digits(number)),
                ha="center",
                va="center",
                fontsize=FONT - 2,
                color=ink,
            )
    axes.set_title(title, fontsize=FONT)
    axes.set_xticks([])
    axes.set_yticks([])


def _in_three_digits(number: float) -> str:
    """With as many places as leave three digits."""
    return by_hand(number, 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0)

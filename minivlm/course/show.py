"""What a function gave beside what was expected, as a picture, and where they differ."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from minivlm.course.check import Verdict
from minivlm.course.compare import Failed
from minivlm.errors import InputError
from minivlm.viz.style import FONT, RED, SEQUENTIAL, new_figure, wrapped

MOST = 64  # rows and columns of a picture
NUMBERED = 8  # rows and columns up to which each number is written into its cell


def picture(found: Verdict) -> Figure:
    """Yours, expected, and the distance between them, for the output that is wrong.

    The first wrong number has a red frame. Rows are the last axis, one below the other.

    Raises:
        InputError: there are no two results to compare.
    """
    if not isinstance(found.got, dict) or not isinstance(found.expected, dict):
        why = found.got.message if isinstance(found.got, Failed) else "everything is right"
        raise InputError(f"{found.exercise.id}: there is nothing to draw, {why}")
    assert found.difference is not None
    name = found.difference.output
    yours, expected = (_matrix(result[name]) for result in (found.got, found.expected))
    panels = {f"{name}, yours": yours, f"{name}, expected": expected}
    if yours.shape == expected.shape:
        panels["|yours − expected|"] = np.abs(yours - expected)
    figure = new_figure(3.6 * len(panels), 4.2)
    for axis, (title, matrix) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        distance = title.startswith("|")
        low, high = (0.0, None) if distance else _range(expected)
        colours = "Greys" if distance else SEQUENTIAL
        image = axis.imshow(matrix, cmap=colours, vmin=low, vmax=high, aspect="auto")
        axis.set_title(wrapped(title, 36, 2), fontsize=FONT)
        axis.set_xlabel("last axis", fontsize=FONT)
        for numbers in (axis.xaxis, axis.yaxis):
            numbers.set_major_locator(MaxNLocator(integer=True))
        figure.colorbar(image, ax=axis, orientation="horizontal", shrink=0.9)
        _write(axis, matrix, image.norm(matrix), dark_is_high=distance)
        if len(panels) == 3:
            wrong = ~(panels["|yours − expected|"] <= 1e-9 * np.abs(expected).max(initial=1e-3))
            if wrong.any():
                row, column = np.argwhere(wrong)[0]
                corner = (column - 0.5, row - 0.5)
                axis.add_patch(Rectangle(corner, 1, 1, fill=False, color=RED, lw=3))
    figure.axes[0].set_ylabel("the other axes, row below row", fontsize=FONT)
    figure.suptitle(
        wrapped(f"{found.exercise.id}: {found.exercise.picture}", 100, 2), fontsize=FONT
    )
    return figure


def _write(axis: Axes, matrix: np.ndarray, shade: np.ndarray, dark_is_high: bool) -> None:
    """Each number into its cell, where cells are large enough."""
    if max(matrix.shape) > NUMBERED:
        return
    for (row, column), value in np.ndenumerate(matrix):
        dark = (shade[row, column] > 0.5) == dark_is_high
        colour = "white" if dark else "black"
        axis.text(
            column, row, f"{value:.2g}", ha="center", va="center", color=colour, fontsize=FONT
        )


def _matrix(array: np.ndarray) -> np.ndarray:
    """An array as rows of its last axis, cut where it is larger than a picture."""
    rows = np.atleast_2d(array.astype(np.float64))
    rows = rows.reshape(-1, rows.shape[-1]) if rows.size else np.zeros((1, 1))
    return np.where(np.isfinite(rows), rows, np.nan)[:MOST, :MOST]


def _range(matrix: np.ndarray) -> tuple[float, float]:
    finite = matrix[np.isfinite(matrix)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)

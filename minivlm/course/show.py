"""What a function gave beside what was expected, as a picture; where they differ, in a third."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minivlm.course.check import Verdict
from minivlm.course.compare import Failed
from minivlm.errors import InputError
from minivlm.viz.style import FONT, RED, SEQUENTIAL, new_figure, wrapped

MOST = 64  # rows and columns of a picture


def picture(found: Verdict) -> Figure:
    """Got, expected and their difference, for the output that is wrong; or all that was given.

    Raises:
        InputError: there is no array to be shown.
    """
    if not isinstance(found.got, dict) or not isinstance(found.expected, dict):
        why = found.got.message if isinstance(found.got, Failed) else "there is nothing to compare"
        raise InputError(f"{found.exercise.id}: no picture, for no result came back ({why})")
    name = found.difference.output if found.difference else ""
    name = name or next(iter(found.expected))
    got, right = (_matrix(result[name]) for result in (found.got, found.expected))
    panels = [("yours", got), ("expected", right)]
    figure = new_figure(10.5, 4.2)
    same_shape = got.shape == right.shape
    axes = figure.subplots(1, 3 if same_shape else 2)
    low, high = _range(right)
    images = [
        axis.imshow(matrix, cmap=SEQUENTIAL, vmin=low, vmax=high, aspect="auto")
        for axis, (_, matrix) in zip(axes[:2], panels, strict=True)
    ]
    for axis, (title, _) in zip(axes[:2], panels, strict=True):
        axis.set_title(f"{name}, {title}", fontsize=FONT)
    figure.colorbar(images[0], ax=axes[:2].tolist(), shrink=0.8)
    if same_shape:
        wrong = np.abs(got - right)
        image = axes[2].imshow(wrong, cmap="Greys", aspect="auto", vmin=0)
        axes[2].set_title("|yours − expected|", fontsize=FONT)
        figure.colorbar(image, ax=axes[2], shrink=0.8)
        if found.difference and np.nanmax(wrong, initial=0) > 0:
            row, column = np.argwhere(~(wrong <= 1e-9 * max(1e-3, abs(high))))[0]
            for axis in axes:
                axis.add_patch(
                    Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, color=RED, lw=2)
                )
    for axis in axes:
        axis.set_xlabel("last axis", fontsize=FONT)
        axis.set_ylabel("other axes, row by row", fontsize=FONT)
    says = wrapped(f"{found.exercise.id}: {found.exercise.picture}", 110, 2)
    figure.suptitle(says, fontsize=FONT)
    return figure


def _matrix(array: np.ndarray) -> np.ndarray:
    """An array as rows of its last axis, cut where it is larger than a picture."""
    rows = np.atleast_2d(array.astype(np.float64))
    rows = rows.reshape(-1, rows.shape[-1]) if rows.size else np.zeros((1, 1))
    return np.where(np.isfinite(rows), rows, np.nan)[:MOST, :MOST]


def _range(matrix: np.ndarray) -> tuple[float, float]:
    finite = matrix[np.isfinite(matrix)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)

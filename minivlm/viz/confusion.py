"""What was taken for what: rows are the truth, columns what was said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minivlm.viz.style import FONT, RED, SEQUENTIAL, new_figure

CELL = 0.46  # inches


def confusion(
    truth: Sequence[int] | np.ndarray, said: Sequence[int] | np.ndarray, classes: int
) -> np.ndarray:
    """How often each class was given each name: counts (classes, classes), a row for each truth.

    Raises:
        ValueError: the lengths differ, or a number names no class.
    """
    true, named = np.asarray(truth), np.asarray(said)
    if true.shape != named.shape:
        raise ValueError(f"{len(true)} truths do not fit {len(named)} answers")
    if true.size and not (
        0 <= min(true.min(), named.min()) <= max(true.max(), named.max()) < classes
    ):
        raise ValueError(f"a class is not in 0..{classes - 1}")
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (true, named), 1)
    return counts


def confusion_matrix(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Counts in their cells, bright by their share of the row; the worst mistake is framed.

    Args:
        counts: of truth by what was said (K, K).
        names: of the K classes.

    Raises:
        ValueError: the names do not fit the counts.
    """
    K = len(names)
    if counts.shape != (K, K):
        raise ValueError(f"counts {counts.shape} do not fit {K} names")
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    figure = new_figure(CELL * K + 2.4, CELL * K + 1.1)
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap=SEQUENTIAL, vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = "black" if shares[row, column] > 0.55 else "white"
            axes.text(
                column, row, str(count), ha="center", va="center", fontsize=FONT - 2, color=ink
            )
    wrong = np.where(np.eye(K, dtype=bool), 0, counts)
    if wrong.any():
        row, column = np.unravel_index(wrong.argmax(), wrong.shape)
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=RED, linewidth=2.5))
    axes.set_xticks(range(K), names, rotation=40, ha="right", fontsize=FONT - 1)
    axes.set_yticks(range(K), names, fontsize=FONT - 1)
    axes.set(xlabel="said", ylabel="is")
    figure.colorbar(picture, ax=axes, label="share of the row", shrink=0.85)
    return figure

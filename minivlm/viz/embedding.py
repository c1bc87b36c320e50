"""Pictures and texts as points of one space, seen from its two widest directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from minivlm.viz.style import BLUE, FONT, GRAY, ORANGE, new_figure


def principal_axes(x: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The mean (D,) of points (N, D), and the directions (count, D) in which they differ most.

    Raises:
        ValueError: there are fewer points or dimensions than directions.
    """
    if min(x.shape) < count:
        raise ValueError(f"points {x.shape} have no {count} directions")
    mean = x.mean(0)
    _, _, directions = np.linalg.svd(x - mean, full_matrices=False)
    return mean, directions[:count]


def joined_points(
    moments: Sequence[tuple[str, np.ndarray, np.ndarray]], labels: Sequence[str] | None = None
) -> Figure:
    """Each picture (blue) joined by a line to its text (orange): shorter lines, better model.

    Every panel has its own two axes, those in which its points differ most (PCA by SVD).

    Args:
        moments: for each panel a title, pictures (N, E) and texts (N, E), row n beside row n.
        labels: what to write beside each picture's point; none where they are too many.

    Raises:
        ValueError: pictures and texts differ in shape.
    """
    figure = new_figure(3.6 * len(moments), 3.7)
    row = np.atleast_1d(figure.subplots(1, len(moments)))
    for axes, (title, images, texts) in zip(row, moments, strict=True):
        if images.shape != texts.shape:
            raise ValueError(f"pictures {images.shape} and texts {texts.shape} are no pairs")
        mean, directions = principal_axes(np.concatenate([images, texts]))
        seen, said = (images - mean) @ directions.T, (texts - mean) @ directions.T  # (N, 2) each
        for a, b in zip(seen, said, strict=True):
            axes.plot(*zip(a, b, strict=True), color=GRAY, linewidth=0.8, zorder=1)
        axes.scatter(*seen.T, color=BLUE, s=22, label="picture", zorder=2)
        axes.scatter(*said.T, color=ORANGE, s=22, marker="s", label="text", zorder=2)
        for point, label in zip(seen, labels or (), strict=False):
            axes.annotate(
                label, point, fontsize=FONT - 3, xytext=(4, 3), textcoords="offset points"
            )
        apart = np.linalg.norm(images - texts, axis=1).mean()
        axes.set_title(f"{title}\nmean distance of a pair {apart:.2f}", fontsize=FONT)
        axes.set_xlabel("first direction")
        axes.set_xticks([])
        axes.set_yticks([])
    row[0].set_ylabel("second direction")
    row[0].legend(fontsize=FONT - 2, loc="best")
    return figure

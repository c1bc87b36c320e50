"""Pictures and texts as points of one space, seen from its two widest directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
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
    moments: Sequence[tuple[str, np.ndarray, np.ndarray]],
    labels: Sequence[str] | None = None,
    colors: Sequence[str] | None = None,
) -> Figure:
    """Each picture (a dot) joined by a line to its text (a square): shorter lines, better model.

    Every panel has its own two axes, those in which its points differ most (PCA by SVD).

    Args:
        moments: for each panel a title, pictures (N, E) and texts (N, E), row n beside row n.
        labels: what to write beside each picture's point in the last panel.
        colors: of each pair, such as "#dc2828"; otherwise pictures are blue and texts orange.

    Raises:
        ValueError: pictures and texts differ in shape, or labels or colours are not one a pair.
    """
    figure = new_figure(3.8 * len(moments), 4.0)
    row = np.atleast_1d(figure.subplots(1, len(moments)))
    for axes, (title, images, texts) in zip(row, moments, strict=True):
        if images.shape != texts.shape:
            raise ValueError(f"pictures {images.shape} and texts {texts.shape} are no pairs")
        for given in (labels, colors):
            if given is not None and len(given) != len(images):
                raise ValueError(
                    f"{len(given)} labels or colours are not one for {len(images)} pairs"
                )
        mean, directions = principal_axes(np.concatenate([images, texts]))
        seen, said = (images - mean) @ directions.T, (texts - mean) @ directions.T  # (N, 2) each
        for a, b in zip(seen, said, strict=True):
            axes.plot(*zip(a, b, strict=True), color=GRAY, linewidth=0.8, zorder=1)
        dots, squares = (colors, colors) if colors else (BLUE, ORANGE)
        edge = {"edgecolor": "black", "linewidth": 0.5, "zorder": 2}
        axes.scatter(*seen.T, c=dots, s=30, label="picture", **edge)
        axes.scatter(*said.T, c=squares, s=26, marker="s", label="text", **edge)
        axes.margins(0.09)
        if labels and axes is row[-1]:
            axes.margins(x=0.36)  # room for the words at the outermost points
            for a, b, label in zip(seen, said, labels, strict=True):
                _name_point(axes, label, a, away_from=b)
        apart = np.linalg.norm(images - texts, axis=1).mean()
        axes.set_title(f"{title}\nmean distance of a pair {apart:.2f}", fontsize=FONT)
        axes.set_xlabel("first direction")
        axes.set_xticks([])
        axes.set_yticks([])
    row[0].set_ylabel("second direction")
    legend = row[0].legend(fontsize=FONT - 2, loc="best")
    if colors:  # a legend in the first pair's colour would say something about that colour
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_color(GRAY)
    return figure


def _name_point(axes: Axes, label: str, point: np.ndarray, away_from: np.ndarray) -> None:
    """Words beside a point, on the side where the line to its pair is not."""
    left = away_from[0] > point[0]
    axes.annotate(
        label,
        (point[0], point[1]),
        xytext=(-6 if left else 6, 0),
        textcoords="offset points",
        fontsize=FONT - 2,
        ha="right" if left else "left",
        va="center",
    )

"""The N×N matrix of cosines, picture by text: learning is the diagonal lighting up."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from minivlm.viz.style import SEQUENTIAL, new_figure


def similarity_moments(moments: Sequence[tuple[int, np.ndarray]]) -> Figure:
    """The same matrix after some numbers of steps, side by side, in one scale of colours.

    Args:
        moments: step and cosines (N, N), picture by text, for each panel.

    Raises:
        ValueError: there is none, or a matrix is not square.
    """
    if not moments or any(m.ndim != 2 or m.shape[0] != m.shape[1] for _, m in moments):
        raise ValueError("the picture needs square matrices, one a moment")
    figure = new_figure(2.9 * len(moments) + 0.6, 3.5)
    row = np.atleast_1d(figure.subplots(1, len(moments)))
    image = None
    for axes, (step, cosines) in zip(row, moments, strict=True):
        image = axes.imshow(cosines, cmap=SEQUENTIAL, vmin=-0.2, vmax=1.0, interpolation="none")
        same, other = diagonal_means(cosines)
        axes.set_title(f"after {step} steps\npairs {same:+.2f}, others {other:+.2f}", fontsize=10)
        axes.set_xlabel("text")
        axes.set_xticks([])
        axes.set_yticks([])
    row[0].set_ylabel("picture")
    assert image is not None
    figure.colorbar(image, ax=row.tolist(), label="cosine", shrink=0.85)
    return figure


def diagonal_means(cosines: np.ndarray) -> tuple[float, float]:
    """The mean cosine of pairs that belong together, and of all others."""
    pairs = np.eye(len(cosines), dtype=bool)
    others = cosines[~pairs].mean() if len(cosines) > 1 else np.nan
    return float(cosines[pairs].mean()), float(others)

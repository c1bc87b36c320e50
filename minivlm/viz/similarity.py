"""The N×N matrix of cosines, picture by text: learning is the diagonal lighting up."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minivlm.viz.style import FONT, SEQUENTIAL, new_figure


def similarity_moments(
    moments: Sequence[tuple[int, np.ndarray]], blocks: Sequence[str] = ()
) -> Figure:
    """The same matrix after some numbers of steps, side by side, in one scale of colours.

    Args:
        moments: step and cosines (N, N), picture by text, for each panel.
        blocks: names of equally long runs of rows, and of columns; lines stand between them.

    Raises:
        ValueError: there is none, a matrix is not square, or its rows make no such blocks.
    """
    if not moments or any(m.ndim != 2 or m.shape[0] != m.shape[1] for _, m in moments):
        raise ValueError("the picture needs square matrices, one a moment")
    if blocks and any(len(m) % len(blocks) for _, m in moments):
        raise ValueError(f"the rows do not fall into {len(blocks)} blocks")
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
        if blocks:
            _name_blocks(axes, len(cosines), blocks, beside=axes is row[0])
    row[0].set_ylabel("picture")
    assert image is not None
    figure.colorbar(image, ax=row.tolist(), label="cosine", shrink=0.85)
    return figure


def _name_blocks(axes: Axes, rows: int, blocks: Sequence[str], beside: bool) -> None:
    """Names in the middle of the blocks of rows and columns, and thin lines between blocks."""
    length = rows // len(blocks)
    middles = [(k + 0.5) * length - 0.5 for k in range(len(blocks))]
    axes.set_xticks(middles, blocks, rotation=90, fontsize=FONT - 2)
    if beside:
        axes.set_yticks(middles, blocks, fontsize=FONT - 2)
    axes.tick_params(length=0)
    for k in range(1, len(blocks)):
        axes.axhline(k * length - 0.5, color="white", linewidth=0.4)
        axes.axvline(k * length - 0.5, color="white", linewidth=0.4)


def diagonal_means(cosines: np.ndarray) -> tuple[float, float]:
    """The mean cosine of pairs that belong together, and of all others."""
    pairs = np.eye(len(cosines), dtype=bool)
    others = cosines[~pairs].mean() if len(cosines) > 1 else np.nan
    return float(cosines[pairs].mean()), float(others)

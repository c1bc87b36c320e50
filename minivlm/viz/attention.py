"""Where a word comes from: attention from each word of an answer, laid over the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from minivlm.viz.style import FONT, GRAY, SEQUENTIAL, Picture, new_figure, wrapped

PANEL = 1.9  # inches, side of a panel
IN_A_ROW = 5
OVERLAY = 0.5  # opacity of the colours of attention


def answer_attention(
    image: np.ndarray, question: str, words: Sequence[str], weights: np.ndarray
) -> Picture:
    """The picture, then once for each word with the attention that the word pays to its parts.

    Each panel has its own scale of colours, from no attention to the most; the numbers are
    per cent of the word's attention, and its title tells how much of it the picture gets in all,
    the rest being paid to words.

    Args:
        image: uint8 (S, S, 3).
        question: what was asked, the title.
        words: of the answer.
        weights: attention to each soft word of the picture (len(words), rows, columns).

    Raises:
        ValueError: there are no words, or not as many as weights.
    """
    if not words or len(words) != len(weights):
        raise ValueError(f"{len(weights)} maps of attention do not fit {len(words)} words")
    panels = len(words) + 1
    columns = min(panels, IN_A_ROW)
    rows = -(-panels // columns)
    figure = new_figure(columns * PANEL, rows * (PANEL + 0.35) + 0.4)
    figure.palette = True
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells[panels:]:
        axes.set_axis_off()
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    for axes in cells[:panels]:
        axes.imshow(image, interpolation="none", extent=extent)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(GRAY)
    cells[0].set_title("the picture", fontsize=FONT)
    for axes, word, paid in zip(cells[1:], words, weights, strict=False):
        axes.imshow(paid, cmap=SEQUENTIAL, vmin=0, vmax=paid.max(), alpha=OVERLAY, extent=extent)
        _write_shares(axes, paid, image.shape)
        said = f"{wrapped(word, 20, 1)}\n{paid.sum():.0%} to the picture"
        axes.set_title(said, fontsize=FONT, parse_math=False)  # a dollar is a dollar
    title = wrapped(question, 18 * columns, 2)
    figure.suptitle(title, fontsize=FONT + 1, parse_math=False)
    return figure


def _write_shares(axes: Axes, paid: np.ndarray, picture: tuple[int, ...]) -> None:
    """The attention to each part, in per cent, in the part's upper left corner."""
    height, width = picture[0] / paid.shape[0], picture[1] / paid.shape[1]
    for (row, column), share in np.ndenumerate(paid):
        axes.text(
            (column + 0.06) * width,
            (row + 0.06) * height,
            f"{share:.0%}",
            color="white",
            fontsize=FONT * 2 / max(2, paid.shape[1] - 1),
            va="top",
            path_effects=[withStroke(linewidth=1.5, foreground="black")],
        )

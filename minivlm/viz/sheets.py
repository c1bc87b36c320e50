"""Pictures with their words: a sheet of examples, and what a search finds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minivlm.viz.style import FONT, GRAY, GREEN, new_figure, wrapped

CELL = 2.2  # inches, side of a picture on the sheet
CAPTION_COLUMNS, CAPTION_LINES = 29, 5


def contact_sheet(images: np.ndarray, captions: Sequence[str], columns: int = 4) -> Figure:
    """Pictures in rows, each with its caption beneath.

    Args:
        images: uint8 (N, S, S, 3).
        captions: one for each.
        columns: pictures in a row.

    Raises:
        ValueError: there are not as many captions as pictures, or none.
    """
    if not len(images) or len(images) != len(captions):
        raise ValueError(f"{len(images)} pictures cannot stand above {len(captions)} captions")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = new_figure(columns * CELL, rows * (CELL + 0.85))
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells[len(images) :]:
        axes.set_axis_off()
    for axes, image, caption in zip(cells, images, captions, strict=False):
        _show(axes, image)
        words = wrapped(caption, CAPTION_COLUMNS, CAPTION_LINES)
        axes.set_xlabel(words, fontsize=FONT - 1.5, labelpad=4, parse_math=False)
    return figure


def retrieval_grid(
    queries: Sequence[str],
    images: np.ndarray,
    similarity: np.ndarray,
    right: np.ndarray,
    top: int = 5,
) -> Figure:
    """For each text, the pictures nearest to it; right ones are framed and ticked.

    Args:
        queries: texts, one a row of the grid.
        images: uint8 (N, S, S, 3), the candidates.
        similarity: cosine of each query with each picture (Q, N).
        right: True where a picture answers a query (Q, N).
        top: pictures shown for each query.

    Raises:
        ValueError: the shapes do not fit together.
    """
    expected = (len(queries), len(images))
    if similarity.shape != expected or right.shape != expected or not queries:
        raise ValueError(f"similarity {similarity.shape}, right {right.shape} are not {expected}")
    top = min(top, len(images))
    figure = new_figure(2.4 + top * 1.45, 1.75 * len(queries))
    grid = figure.subplots(len(queries), top + 1, squeeze=False, width_ratios=[1.6] + [1] * top)
    for row, query, cosines, answers in zip(grid, queries, similarity, right, strict=True):
        row[0].set_axis_off()
        words = wrapped(query, 30, 6)
        row[0].text(0, 0.5, words, va="center", fontsize=FONT, parse_math=False)
        for axes, i in zip(row[1:], np.argsort(-cosines, kind="stable"), strict=False):
            _show(axes, images[i])
            axes.set_title(f"{cosines[i]:+.2f}{' ✓' if answers[i] else ''}", fontsize=FONT)
            for spine in axes.spines.values():
                spine.set(visible=bool(answers[i]), color=GREEN, linewidth=3.5)
    return figure


def _show(axes: Axes, image: np.ndarray) -> None:
    """A picture pixel by pixel, without axes; its words go where axes' labels would."""
    axes.imshow(image, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(GRAY)

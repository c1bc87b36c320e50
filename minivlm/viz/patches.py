"""A picture as a transformer gets it: cut into patches, each with a place it has to learn."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minivlm.viz.style import FONT, GRAY, SEQUENTIAL, new_figure

SIDE = 3.2  # inches, of each of the two pictures


def patch_grid(image: np.ndarray, patch: int) -> Figure:
    """The picture whole and cut apart, patches numbered in the order in which they become tokens.

    Args:
        image: uint8 (S, S, 3).
        patch: side of a patch in pixels; it divides S.

    Raises:
        ValueError: the patches do not cover the picture.
    """
    side = len(image)
    if image.shape != (side, side, 3) or side % patch:
        raise ValueError(f"patches of {patch} pixels do not cover a picture {image.shape}")
    n = side // patch
    figure = new_figure(2 * SIDE + 0.3, SIDE + 0.4)
    whole, apart = figure.subfigures(1, 2, squeeze=False)[0]
    axes = whole.subplots()
    axes.imshow(image, interpolation="nearest", extent=(0, side, side, 0))
    axes.set_xticks(range(0, side + 1, patch))
    axes.set_yticks(range(0, side + 1, patch))
    axes.grid(color="white", linewidth=1)
    axes.set_title(f"{side}×{side} pixels", fontsize=FONT)
    cells = apart.subplots(n, n, squeeze=False)
    apart.suptitle(f"{n * n} tokens of 3·{patch}·{patch} = {3 * patch * patch} numbers", size=FONT)
    for number, cell in enumerate(cells.ravel()):
        row, column = divmod(number, n)
        part = image[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        cell.imshow(part, interpolation="nearest")
        cell.set_xticks([])
        cell.set_yticks([])
        cell.set_xlabel(str(number), fontsize=FONT - 3, labelpad=1)
    return figure


def position_similarity(positions: np.ndarray) -> Figure:
    """For each place in the grid, the cosine of its position embedding with every other's.

    What training makes of them: places in a row, in a column or near each other become alike.

    Args:
        positions: one embedding a patch (N, D), rows of the grid first; without a class token.

    Raises:
        ValueError: N is no square.
    """
    n = round(len(positions) ** 0.5)
    if n * n != len(positions) or not n:
        raise ValueError(f"{len(positions)} positions are no square grid")
    unit = positions / np.linalg.norm(positions, axis=1, keepdims=True)
    cosines = (unit @ unit.T).reshape(n, n, n, n)
    off = cosines.reshape(n * n, n * n)[~np.eye(n * n, dtype=bool)]
    limit = float(np.abs(off).max()) if off.size else 1.0
    figure = new_figure(0.85 * n + 1.2, 0.85 * n + 0.6)
    cells = figure.subplots(n, n, squeeze=False)
    picture = None
    for (row, column), cell in np.ndenumerate(cells):
        picture = cell.imshow(cosines[row, column], cmap=SEQUENTIAL, vmin=-limit, vmax=limit)
        cell.add_patch(_frame(column, row))
        cell.set_xticks([])
        cell.set_yticks([])
        for spine in cell.spines.values():
            spine.set_color(GRAY)
    assert picture is not None
    figure.colorbar(picture, ax=cells.ravel().tolist(), label="cosine", shrink=0.8)
    figure.suptitle("each small map: one place (framed) against all places", fontsize=FONT)
    return figure


def _frame(column: int, row: int) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=1.2)

"""A picture as a transformer gets it: cut into patches, each with a place it has to learn."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from minivlm.data.scenes import Scene
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
    side, n = len(image), patches_a_side(image, patch)
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
        cell.imshow(image[place_of(number, n, patch)], interpolation="nearest")
        cell.set_xticks([])
        cell.set_yticks([])
        cell.text(
            *(0.06, 0.94, str(number)),
            transform=cell.transAxes,
            fontsize=FONT - 2,
            color="white",
            va="top",
            path_effects=[withStroke(linewidth=1.5, foreground="black")],
        )
    return figure


def patches_a_side(image: np.ndarray, patch: int) -> int:
    """How many patches of some pixels' side lie along a side of a picture (S, S, 3).

    Raises:
        ValueError: the patches do not cover the picture.
    """
    side = len(image)
    if image.shape != (side, side, 3) or side % patch:
        raise ValueError(f"patches of {patch} pixels do not cover a picture {image.shape}")
    return side // patch


def place_of(number: int, n: int, patch: int) -> tuple[slice, slice]:
    """The rows and columns of a picture that a patch covers, of n along a side."""
    row, column = divmod(number, n)
    rows = slice(row * patch, (row + 1) * patch)
    return rows, slice(column * patch, (column + 1) * patch)


def shuffled(images: np.ndarray, patch: int, order: np.ndarray) -> np.ndarray:
    """Pictures cut into patches and put together again in another order, the same for all.

    Args:
        images: uint8 (B, S, S, 3).
        patch: side of a patch in pixels; it divides S.
        order: which patch comes to each place, a permutation of the (S / patch)² patches.

    Raises:
        ValueError: the patches do not cover the pictures, or the order is no permutation of them.
    """
    B, S = images.shape[:2]
    n = S // patch
    if images.shape != (B, S, S, 3) or S % patch:
        raise ValueError(f"patches of {patch} pixels do not cover pictures {images.shape}")
    if sorted(order) != list(range(n * n)):
        raise ValueError(f"the order is no permutation of {n * n} patches")
    squares = images.reshape(B, n, patch, n, patch, 3).swapaxes(2, 3)
    squares = squares.reshape(B, n * n, patch, patch, 3)[:, order]
    return squares.reshape(B, n, n, patch, patch, 3).swapaxes(2, 3).reshape(images.shape)


def position_similarity(positions: np.ndarray) -> Figure:
    """For each place in the grid, the cosine of its position embedding with every other's.

    Untrained ones have nothing to do with each other. Training makes those places alike that play
    the same part: neighbours in photographs, other places where things stand on a grid.

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
    figure.colorbar(
        picture,
        ax=cells.ravel().tolist(),
        label="cosine",
        shrink=0.8,
        extend="max",  # a place's cosine with itself, 1, lies beyond
    )
    figure.suptitle("each small map: one place (framed) against all places", fontsize=FONT)
    return figure


def _frame(column: int, row: int) -> Rectangle:
    """Around a place: black, since its own cosine is the brightest."""
    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.5)


def patches_of_things(scene: Scene, n: int) -> np.ndarray:
    """Which of n×n patches of a scene's picture a thing may reach, with a margin: bool (n, n)."""
    reached = np.zeros((n, n), bool)
    for thing in scene.things:
        reach = 1.15 * thing.radius  # tips of stars stand out a little
        left, right = (int(n * min(max(thing.x + d, 0), 0.999)) for d in (-reach, reach))
        top, bottom = (int(n * min(max(thing.y + d, 0), 0.999)) for d in (-reach, reach))
        reached[top : bottom + 1, left : right + 1] = True
    return reached

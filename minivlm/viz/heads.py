"""What each head of a vision transformer looks at, and what all layers together let through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minivlm.viz.style import FONT, GRAY, SEQUENTIAL, new_figure

PANEL = 1.75  # inches
OVERLAY = 0.65  # opacity of the colours of attention
LUMA = np.array([0.299, 0.587, 0.114])  # how bright red, green and blue are to the eye


def rollout(layers: Sequence[np.ndarray]) -> np.ndarray:
    """How much of each token's input reaches each token's output through all layers, (T, T).

    Each layer passes on the mean of its heads and, by the residual path, the token itself, half
    and half; layers multiply.

    Args:
        layers: attention (H, T, T) of each, rows summing to 1, first layer first.

    Returns:
        Rows sum to 1.

    Source: Abnar and Zuidema 2020, arXiv:2005.00928, section 3.
    """
    through = np.eye(layers[0].shape[-1])
    for weights in layers:
        passed_on = 0.5 * weights.mean(0) + 0.5 * np.eye(len(through))
        through = passed_on @ through
    return through


def head_overlays(
    image: np.ndarray, layers: Sequence[np.ndarray], token: int | None = None
) -> Figure:
    """Where a token looks, a row for each layer and a panel for each head; last, the rollout.

    The first column is the picture; where a patch asks, it is framed there.

    Args:
        image: uint8 (S, S, 3).
        layers: attention (H, T, T) of each layer, where T is a square of patches, and perhaps a
            class token before them.
        token: whose attention is shown, such as 0, the class token; None takes the mean of all,
            which is what a tower gathers that averages its tokens.

    Raises:
        ValueError: T is neither a square nor one more.
    """
    H, T, _ = layers[0].shape
    n = int(T**0.5)
    first = T - n * n
    if first not in (0, 1):
        raise ValueError(f"{T} tokens are neither a square of patches nor one more")
    figure = new_figure((H + 2) * PANEL, len(layers) * (PANEL + 0.25) + 0.1)
    cells = figure.subplots(len(layers), H + 2, squeeze=False)
    for depth, weights in enumerate(layers):
        cells[depth, 0].set_ylabel(f"layer {depth + 1}", fontsize=FONT)
        _show(cells[depth, 0], image)
        if token is not None and token >= first:
            _frame_patch(cells[depth, 0], token - first, n, len(image))
        through = rollout(layers[: depth + 1])
        maps = [_looks(heads, token)[first:] for heads in (*weights, through)]
        for head, (axes, paid) in enumerate(zip(cells[depth, 1:], maps, strict=True)):
            _overlay(axes, image, paid.reshape(n, n))
            name = f"head {head + 1}" if head < H else "rollout to here"
            share = f"\n{paid.sum():.0%} to patches" if first else f", most {paid.max():.0%}"
            axes.set_title(name + share, fontsize=FONT - 1)
    cells[0, 0].set_title("the picture", fontsize=FONT - 1)
    return figure


def map_overlays(image: np.ndarray, maps: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """The picture, and the same picture under maps of its patches, each in its own scale.

    Args:
        image: uint8 (S, S, 3).
        maps: a title and a value, 0 or more, for each patch (n, n); the largest is bright.

    Raises:
        ValueError: there is no map, or one is not square.
    """
    if not maps or any(m.ndim != 2 or m.shape[0] != m.shape[1] for _, m in maps):
        raise ValueError("overlays are made of square maps, at least one")
    figure = new_figure((len(maps) + 1) * (PANEL + 0.3), PANEL + 0.75)
    picture, *others = figure.subplots(1, len(maps) + 1)
    _show(picture, image)
    picture.set_title("the picture", fontsize=FONT)
    for axes, (title, values) in zip(others, maps, strict=True):
        _overlay(axes, image, values)
        axes.set_title(title, fontsize=FONT)
    return figure


def named_overlays(images: np.ndarray, maps: np.ndarray, names: Sequence[str]) -> Figure:
    """Pictures in a row, and under each of them the same under its map.

    Args:
        images: uint8 (K, S, S, 3).
        maps: a value, 0 or more, for each patch of each picture (K, n, n); the largest is bright.
        names: what to write above each.

    Raises:
        ValueError: there is no picture, or not one map and one name for each.
    """
    if not len(images) or not len(images) == len(maps) == len(names):
        raise ValueError(f"{len(images)} pictures, {len(maps)} maps and {len(names)} names")
    figure = new_figure(len(images) * (PANEL - 0.35), 2 * (PANEL - 0.35) + 0.6)
    cells = figure.subplots(2, len(images), squeeze=False)
    for (above, below), image, values, name in zip(cells.T, images, maps, names, strict=True):
        _show(above, image)
        above.set_title(name, fontsize=FONT)
        _overlay(below, image, values)
    return figure


def _looks(weights: np.ndarray, token: int | None) -> np.ndarray:
    """The row of a token (T, T) -> (T,), or the mean of all rows."""
    return weights.mean(0) if token is None else weights[token]


def _show(axes: Axes, image: np.ndarray) -> None:
    """A picture in pixels, without numbers on its sides."""
    side = len(image)
    axes.imshow(image, extent=(0, side, side, 0), interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(GRAY)


def _overlay(axes: Axes, image: np.ndarray, paid: np.ndarray) -> None:
    """The picture in greys, so that all colour is the map's: bright where it is strong."""
    side = len(image)
    grey = np.repeat((image @ LUMA).astype(np.uint8)[..., None], 3, 2)
    _show(axes, grey)
    axes.imshow(
        paid,
        cmap=SEQUENTIAL,
        vmin=0,
        vmax=max(float(paid.max()), 1e-12),
        alpha=OVERLAY,
        extent=(0, side, side, 0),
        interpolation="none",
    )


def _frame_patch(axes: Axes, patch: int, n: int, side: int) -> None:
    """A white frame around one of n×n patches of a picture."""
    row, column = divmod(patch, n)
    step = side / n
    corner = (column * step, row * step)
    axes.add_patch(Rectangle(corner, step, step, fill=False, edgecolor="white", linewidth=2))

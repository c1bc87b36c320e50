"""What each head of a vision transformer looks at, and what all layers together let through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minivlm.viz.style import FONT, SEQUENTIAL, new_figure

PANEL = 1.7  # inches
OVERLAY = 0.6  # opacity of the colours of attention


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
    figure = new_figure((H + 1) * PANEL, len(layers) * (PANEL + 0.2) + 0.3)
    cells = figure.subplots(len(layers), H + 1, squeeze=False)
    for depth, weights in enumerate(layers):
        through = rollout(layers[: depth + 1])
        maps = [_looks(heads, token)[first:] for heads in (*weights, through)]
        for head, (axes, paid) in enumerate(zip(cells[depth], maps, strict=True)):
            _overlay(axes, image, paid.reshape(n, n))
            name = f"head {head + 1}" if head < H else "rollout to here"
            share = f"\n{paid.sum():.0%} to patches" if first else ""
            axes.set_title(name + share, fontsize=FONT - 2)
        cells[depth, 0].set_ylabel(f"layer {depth + 1}", fontsize=FONT)
    return figure


def _looks(weights: np.ndarray, token: int | None) -> np.ndarray:
    """The row of a token (T, T) -> (T,), or the mean of all rows."""
    return weights.mean(0) if token is None else weights[token]


def _overlay(axes: Axes, image: np.ndarray, paid: np.ndarray) -> None:
    """The picture under a map of attention, bright where it is strong, in its own scale."""
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    axes.imshow(image, extent=extent, interpolation="none")
    top = max(float(paid.max()), 1e-12)
    axes.imshow(
        paid, cmap=SEQUENTIAL, vmin=0, vmax=top, alpha=OVERLAY, extent=extent, interpolation="none"
    )
    axes.set_xticks([])
    axes.set_yticks([])

"""The moments of a training: the matrix of cosines and where the loss stands.

One drawing a moment, for `slideshow`, so that one can pull a slider through the training.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np

from minivlm.viz.similarity import diagonal_means
from minivlm.viz.style import BLUE, GRAY, ORANGE, SEQUENTIAL
from minivlm.viz.svg import Drawing

SIDE, LEFT, NAMES, SCALE = 320.0, 70.0, 66.0, 52.0  # pixels: of the matrix, and of what is around
CURVE, BELOW = 66.0, 22.0  # height of the curve of the loss, and of what is written below it
COLDEST, HOTTEST = -0.2, 1.0  # cosines at the ends of the scale of colours


def training_frames(
    moments: Sequence[tuple[int, np.ndarray]],
    blocks: Sequence[str],
    losses: Sequence[float],
    guessing: float,
) -> list[Drawing]:
    """A drawing for each moment: the matrix, all in one scale, and a dot on the loss's curve.

    Args:
        moments: steps done and cosines (N, N), picture by text, for each drawing.
        blocks: names of equally long runs of rows, and of columns; lines stand between them.
        losses: of each step, nats a choice.
        guessing: the loss of a model that guesses.

    Raises:
        ValueError: there is no moment or no loss, a matrix is not square, its rows make no such
            blocks, or a moment lies outside the training.
    """
    if not moments or not losses:
        raise ValueError("frames need at least one moment, and the losses of a training")
    for step, cosines in moments:
        N = len(cosines)
        if cosines.shape != (N, N) or not blocks or N % len(blocks):
            raise ValueError(f"a matrix {cosines.shape} does not fall into {len(blocks)} blocks")
        if not 0 <= step <= len(losses):
            raise ValueError(f"step {step} is none of {len(losses)}")
    return [_frame(step, cosines, blocks, losses, guessing) for step, cosines in moments]


def _frame(
    step: int, cosines: np.ndarray, blocks: Sequence[str], losses: Sequence[float], guessing: float
) -> Drawing:
    same, other = diagonal_means(cosines)
    title = f"after {step} steps: pairs {same:+.2f}, others {other:+.2f}".replace("-", "−")
    top = SIDE + NAMES  # of the curve
    drawing = Drawing(LEFT + SIDE + SCALE, 6 + top + CURVE + BELOW, title)
    warmth = (cosines - COLDEST) / (HOTTEST - COLDEST)
    drawing.image(LEFT, 6, SIDE, SIDE, _colors(warmth))
    _name_blocks(drawing, blocks)
    x = LEFT + SIDE + 8
    drawing.image(x, 6, 10, SIDE, _colors(np.linspace(1, 0, 64)[:, None]))
    for cosine in (1.0, 0.5, 0.0):
        y = 6 + SIDE * (HOTTEST - cosine) / (HOTTEST - COLDEST)
        drawing.text(x + 14, max(y + 4, 15), f"{cosine:g}", 11, "start")
    drawing.text(x + 14, 6 + SIDE, f"−{-COLDEST:g}", 11, "start")
    drawing.text(x + 24, 6 + 0.75 * SIDE, "cosine", 11, upward=True)
    _curve(drawing, 6 + top, step, losses, guessing)
    return drawing


def _colors(warmth: np.ndarray) -> np.ndarray:
    """From 0 to 1, and beyond as the nearest of the two, to uint8 (..., 3)."""
    return matplotlib.colormaps[SEQUENTIAL](warmth.clip(0, 1), bytes=True)[..., :3]


def _name_blocks(drawing: Drawing, blocks: Sequence[str]) -> None:
    """Names at the middles of the blocks of rows and columns, and lines between blocks."""
    length = SIDE / len(blocks)
    for k, name in enumerate(blocks):
        middle = (k + 0.5) * length
        drawing.text(LEFT - 6, 6 + middle + 4, name, 11, "end")
        drawing.text(LEFT + middle + 4, SIDE + 12, name, 11, "end", upward=True)
        if k:
            drawing.line(LEFT, 6 + k * length, LEFT + SIDE, 6 + k * length, 0.7, "#FFFFFF")
            drawing.line(LEFT + k * length, 6, LEFT + k * length, 6 + SIDE, 0.7, "#FFFFFF")
    drawing.text(14, 6 + SIDE / 2, "picture", 12, upward=True)
    drawing.text(14, SIDE + 38, "text →", 12, "start")


def _curve(
    drawing: Drawing, top: float, step: int, losses: Sequence[float], guessing: float
) -> None:
    """The loss of each step, what guessing costs, and a dot where the training stands."""
    highest = max(*losses, guessing)
    points = [
        (LEFT + SIDE * i / max(1, len(losses) - 1), top + CURVE * (1 - loss / highest))
        for i, loss in enumerate(losses)
    ]
    y = top + CURVE * (1 - guessing / highest)
    drawing.line(LEFT, y, LEFT + SIDE, y, 1, GRAY)
    drawing.text(LEFT + SIDE, y + 13, "guessing", 11, "end")
    drawing.curve(points, 1, BLUE)
    drawing.line(LEFT, top + CURVE, LEFT + SIDE, top + CURVE)
    now = min(step, len(losses) - 1)
    x, y = points[now]
    drawing.box(x - 5, y - 5, 10, 10, ORANGE, round=5)
    drawing.text(LEFT - 6, top + CURVE, "0", 11, "end")
    drawing.text(LEFT - 6, top + CURVE / 2 + 4, "loss", 11, "end")
    drawing.text(LEFT + SIDE, top + CURVE + 15, f"step {len(losses)}", 11, "end")

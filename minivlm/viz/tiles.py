"""A softmax computed tile by tile: the scores of each tile, and what is kept beside them.

    steps = online_softmax(q, k, v, tile=2)
    draw_tiles(steps)        # one line of the picture for each tile of keys

A flash kernel never has all scores of a query at once. It keeps three things for each: the largest
score so far, the sum of exp(score − largest), and the sum of values with those weights. When a
larger score comes, both sums shrink by exp(old largest − new largest).

Source: Milakov and Gimelshein 2018, arXiv:1805.02867, algorithm 3; Dao et al. 2022,
arXiv:2205.14135, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minivlm.tensor import Array
from minivlm.viz.style import BLUE, FONT, GRAY, GREEN, ORANGE, RED, by_hand, new_figure

CELL = 0.52  # inches, side of one number's cell
FORGOTTEN = "#D9D9D9"


@dataclass(frozen=True)
class Step:
    """One tile of keys has passed.

    Attributes:
        first: the tile's first key.
        scores: of the queries with the tile's keys (T, tile).
        top: the largest score so far (T,).
        shrink: what the sums were multiplied by, exp(old top − new top) (T,); 0 in the first step.
        total: Σ exp(score − top) so far (T,).
        row: Σ exp(score − top)·v so far (T, C).
    """

    first: int
    scores: Array
    top: Array
    shrink: Array
    total: Array
    row: Array

    @property
    def mean(self) -> Array:
        """What attention would give if there were no more keys (T, C)."""
        return self.row / self.total[:, None]

    @property
    def lse(self) -> Array:
        """The logarithm of Σ exp(score) so far (T,)."""
        return self.top + np.log(self.total)


def online_softmax(q: Array, k: Array, v: Array, tile: int) -> list[Step]:
    """Attention of one head, a tile of keys at a time; the last step has the result.

    Scores are q kᵀ / √C. Of earlier tiles only `top`, `total` and `row` are known, as `Step` has
    them; when a larger score comes, both sums shrink.

    Args:
        q: queries (T, C).
        k: keys (S, C).
        v: values (S, C), or of another width.
        tile: keys of a tile; the last tile may have fewer.

    Returns:
        A step for each tile, each with arrays of its own, in the dtype of q.

    Raises:
        ValueError: a tile has no keys, or there are none.
    """
    if tile < 1 or len(k) < 1:
        raise ValueError(f"{len(k)} keys do not make tiles of {tile}")
    T, C = q.shape
    top = np.full(T, -np.inf, q.dtype)
    total, row = np.zeros(T, q.dtype), np.zeros((T, v.shape[1]), q.dtype)
    steps = []
    for first in range(0, len(k), tile):
        scores = q @ k[first : first + tile].T / math.sqrt(C)
        new = np.maximum(top, scores.max(1))
        weights = np.exp(scores - new[:, None])
        shrink = np.exp(top - new)
        total = total * shrink + weights.sum(1)
        row = row * shrink[:, None] + weights @ v[first : first + tile]
        top = new
        steps.append(Step(first, scores, top, shrink, total, row))
    return steps


def draw_tiles(
    steps: Sequence[Step], rows: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> Figure:
    """A line for each tile: on the left its scores, on the right what is kept of all so far.

    The tile at work is blue, a new largest score has an orange cell. What has passed is grey and
    empty, because it is forgotten; what has yet to come is white.

    Args:
        steps: from `online_softmax`.
        rows: what to write beside the queries.
        columns: what to write above the keys.

    Raises:
        ValueError: there are no steps.
    """
    if not steps:
        raise ValueError("a picture of tiles needs at least one")
    T, C = steps[0].row.shape
    S = sum(step.scores.shape[1] for step in steps)
    widths = [S, 1, 1, 1, C, C]
    figure = new_figure(CELL * sum(widths) + 2.2, (CELL * 0.75 * T + 0.62) * len(steps) + 0.3)
    ratios = {"width_ratios": widths}
    grid = figure.subplots(len(steps), len(widths), squeeze=False, gridspec_kw=ratios)
    tile, before = steps[0].scores.shape[1], np.full(T, -np.inf)
    for line, step in zip(grid, steps, strict=True):
        _scores(line[0], step, S, tile, step.top > before)
        line[0].set_yticks(range(T), rows or [f"query {i}" for i in range(T)])
        line[0].set_xticks(range(S), columns or [str(j) for j in range(S)])
        last = step.first + step.scores.shape[1] - 1
        keys = f"keys {step.first} to {last}" if last > step.first else f"key {last}"
        line[0].set_title(f"scores of {keys}", fontsize=FONT)
        grew = np.where(step.top > before, ORANGE, "white")
        _numbers(line[1], "largest", step.top[:, None], grew)
        _numbers(line[2], "shrink", step.shrink[:, None], np.full(T, "white"))
        _numbers(line[3], "sum", step.total[:, None], np.full(T, "white"))
        _numbers(line[4], "Σ weight·v", step.row, np.full(T, "white"))
        done = np.full(T, GREEN if step is steps[-1] else "white")
        _numbers(line[5], "the mean so far", step.mean, done)
        before = step.top
    for axes in grid.flat:
        axes.tick_params(length=0, labelsize=FONT - 2)
    return figure


def _scores(axes: Axes, step: Step, S: int, tile: int, grew: np.ndarray) -> None:
    """The tile's scores among the cells of all keys."""
    T = len(step.scores)
    axes.set_xlim(-0.5, S - 0.5)
    axes.set_ylim(T - 0.5, -0.5)
    axes.add_patch(Rectangle((-0.5, -0.5), step.first, T, color=FORGOTTEN))
    for (i, j), score in np.ndenumerate(step.scores):
        record = grew[i] and score == step.top[i]
        colour = ORANGE if record else BLUE
        axes.add_patch(Rectangle((step.first + j - 0.5, i - 0.5), 1, 1, color=colour))
        ink = "black" if record else "white"
        _write(axes, step.first + j, i, score, ink)
    for edge in range(1, S):
        axes.axvline(edge - 0.5, color=GRAY, linewidth=1.2 if edge % tile == 0 else 0.3)
    for edge in range(1, T):
        axes.axhline(edge - 0.5, color=GRAY, linewidth=0.3)


def _numbers(axes: Axes, title: str, matrix: Array, colours: np.ndarray) -> None:
    """A small table, each row on its colour."""
    T, C = matrix.shape
    axes.set_xlim(-0.5, C - 0.5)
    axes.set_ylim(T - 0.5, -0.5)
    for (i, c), number in np.ndenumerate(matrix):
        axes.add_patch(
            Rectangle((c - 0.5, i - 0.5), 1, 1, facecolor=str(colours[i]), edgecolor=GRAY, lw=0.4)
        )
        _write(axes, c, i, number, "white" if colours[i] == GREEN else "black")
    axes.set_title(title, fontsize=FONT)
    axes.set_xticks([])
    axes.set_yticks([])


def _write(axes: Axes, x: float, y: float, number: float, ink: str) -> None:
    words = by_hand(float(number), 2)
    axes.text(x, y, words, ha="center", va="center", fontsize=FONT - 2, color=ink)


def growth(
    sizes: Sequence[int], panels: Sequence[tuple[str, Mapping[str, Sequence[float]]]]
) -> Figure:
    """How quantities grow with N, on logarithmic axes, where a power of N is a straight line.

    Args:
        sizes: values of N.
        panels: what is counted, and the counts by name, for each panel. A name has one colour in
            all of them, and beside it stands its slope at the end: 2 means that twice the N costs
            four times as much.

    Raises:
        ValueError: there are fewer than two sizes, more than five names, or no panel.
    """
    names = list(dict.fromkeys(name for _, lines in panels for name in lines))
    if len(sizes) < 2 or not 1 <= len(names) <= 5:
        raise ValueError(f"{len(sizes)} sizes and {len(names)} names do not make curves")
    figure = new_figure(5.2 * len(panels), 3.4)
    colours = dict(zip(names, (RED, BLUE, GREEN, ORANGE, GRAY), strict=False))
    styles = dict(zip(names, ("-o", "--s", ":^", "-.D", "-x"), strict=False))
    cells = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, lines) in zip(cells, panels, strict=True):
        for name, numbers in lines.items():
            steepness = math.log(numbers[-1] / numbers[-2]) / math.log(sizes[-1] / sizes[-2])
            axes.loglog(
                sizes,
                numbers,
                styles[name],
                color=colours[name],
                label=f"{name} (slope {steepness:.1f})",
                markersize=5,
            )
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("N, queries and keys")
        axes.set_ylabel(title)
        axes.legend(frameon=False, fontsize=FONT - 1)
        axes.grid(alpha=0.3)
    return figure

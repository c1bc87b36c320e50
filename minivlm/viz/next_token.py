"""What comes next: the probabilities of a language model's next token, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from minivlm.viz.style import BLUE, FONT, new_figure, wrapped
from minivlm.viz.tokens import shown

IN_A_ROW = 3


def next_token_bars(
    panels: Sequence[tuple[str, np.ndarray]],
    names: Sequence[str],
    most: int = 8,
    truth: Sequence[Mapping[str, float]] | None = None,
) -> Figure:
    """For each text, the tokens that are most probable to follow, the first on top.

    Args:
        panels: a text and the probability of each token after it (V,).
        names: of the tokens (V).
        most: bars in a panel.
        truth: for each text the share of each name in the world, a black tick; None: no ticks.

    Raises:
        ValueError: there is no text, or the lengths differ.
    """
    if not panels or any(p.shape != (len(names),) for _, p in panels):
        raise ValueError(f"bars are for one text or more, with {len(names)} probabilities each")
    if truth is not None and len(truth) != len(panels):
        raise ValueError(f"{len(truth)} truths do not fit {len(panels)} texts")
    columns = min(len(panels), IN_A_ROW)
    rows = -(-len(panels) // columns)
    ticks = [max(shares.values(), default=0.0) for shares in truth or ()]
    longest = min(1.0, 1.08 * max(*(float(p.max()) for _, p in panels), *ticks, 0.05))
    figure = new_figure(3.3 * columns, (0.27 * most + 1.1) * rows)
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells[len(panels) :]:
        axes.set_axis_off()
    for number, (axes, (text, p)) in enumerate(zip(cells, panels, strict=False)):
        top = [int(i) for i in np.argsort(-p, kind="stable")[:most]]
        places = np.arange(len(top))
        axes.barh(places, p[top], color=BLUE)
        labels = [shown(names[i]) for i in top]
        axes.set_yticks(places, labels, fontsize=FONT - 1)
        axes.invert_yaxis()
        axes.set_xlim(0, longest)
        axes.set_xlabel("probability", fontsize=FONT - 1)
        axes.set_title(f"{wrapped(text, 36, 3)} …", fontsize=FONT, parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
        for place, i in enumerate(top):
            share = None if truth is None else truth[number].get(names[i])
            if share is not None:
                axes.plot([share] * 2, [place - 0.42, place + 0.42], color="black", linewidth=2)
    return figure

"""What a model can do and what it cannot: shares of right answers, and what guessing would give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from minivlm.evaluate.score import Score
from minivlm.viz.style import BLUE, FONT, GRAY, ORANGE, new_figure

MARGIN = 2.0  # standard errors that a score has to be above chance by, to count as learnt


def score_bars(scores: Sequence[Score]) -> Figure:
    """A bar for each score, a black tick where guessing stands; what is not above it is orange.

    Raises:
        ValueError: there is no score.
    """
    if not scores:
        raise ValueError("nothing was measured")
    figure = new_figure(7.2, 0.3 * len(scores) + 1.0)
    axes = figure.subplots()
    places = np.arange(len(scores))
    axes.barh(
        places,
        [score.value for score in scores],
        xerr=[score.standard_error for score in scores],
        color=[BLUE if above_chance(score) else ORANGE for score in scores],
        error_kw={"ecolor": GRAY},
        height=0.7,
    )
    for place, score in enumerate(scores):
        axes.plot([score.chance] * 2, [place - 0.42, place + 0.42], color="black", linewidth=2)
        axes.text(1.02, place, f"{score.value:.0%}", va="center", fontsize=FONT - 1)
    axes.plot([], [], "|", color="black", markersize=12, markeredgewidth=2, label="guessing")
    axes.set_yticks(places, [score.name.strip() for score in scores], fontsize=FONT - 1)
    axes.invert_yaxis()  # the first on top
    axes.set(xlim=(0, 1.1), xlabel="share that is right")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower right", frameon=False, fontsize=FONT - 1)
    return figure


def above_chance(score: Score) -> bool:
    """Whether a score is above guessing by more than MARGIN standard errors."""
    return score.value - score.chance > MARGIN * score.standard_error

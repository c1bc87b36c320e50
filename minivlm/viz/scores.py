"""What a model can do and what it cannot: shares of right answers, and what guessing would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def compared_bars(
    questions: Sequence[str], models: Mapping[str, Sequence[float]], chance: Sequence[float]
) -> Figure:
    """For each question a bar of each model, beside each other, and a tick where guessing stands.

    Args:
        questions: what is asked.
        models: up to three names, each with its share of right answers to each question.
        chance: what guessing would give the first of them, whose bars have the ticks.

    Raises:
        ValueError: the numbers of questions and shares differ, or of models there are 0 or 4.
    """
    rows = len(questions)
    if not 1 <= len(models) <= 3 or any(len(x) != rows for x in (*models.values(), chance)):
        raise ValueError(f"{rows} questions do not fit {len(models)} models, three at most")
    figure = new_figure(7.2, (0.2 * len(models) + 0.08) * rows + 1.1)
    axes = figure.subplots()
    thick = 0.84 / len(models)
    first = np.arange(rows) - 0.42 + thick / 2
    handles = []
    for number, (name, shares) in enumerate(models.items()):
        places, color = first + number * thick, (ORANGE, BLUE, GRAY)[number]
        bars = axes.barh(places, shares, height=0.92 * thick, color=color, label=name)
        handles.append(bars.patches[0])
        for place, share in zip(places, shares, strict=True):
            axes.text(share + 0.012, place, f"{share:.0%}", va="center", fontsize=FONT - 1)
    for place, share in zip(first, chance, strict=True):
        ends = [place - thick / 2, place + thick / 2]
        axes.plot([share] * 2, ends, color="black", linewidth=2)
    [tick] = axes.plot([], [], "|", color="black", markersize=12, markeredgewidth=2)
    axes.set_yticks(range(rows), questions, fontsize=FONT - 1)
    axes.invert_yaxis()  # the first on top
    axes.set(xlim=(0, 1.1), xlabel="share that is right")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        [*handles, tick],
        [*models, "guessing"],
        loc="outside upper center",
        ncols=4,
        frameon=False,
        fontsize=FONT - 1,
    )
    return figure


def above_chance(score: Score) -> bool:
    """Whether a score is above guessing by more than MARGIN standard errors."""
    return score.value - score.chance > MARGIN * score.standard_error

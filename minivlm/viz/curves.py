"""How a run went: loss and temperature over its steps."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from minivlm.viz.style import BLUE, GRAY, ORANGE, new_figure

SMOOTHING = 0.95  # share of the old mean in the thick line


def training_curves(log: Sequence[Mapping[str, float]], guessing: float) -> Figure:
    """Loss in nats, each step and smoothed, and the temperature.

    Args:
        log: a mapping for each step, with number, loss and temperature.
        guessing: the loss of a model that guesses, in nats; drawn as a line.

    Raises:
        ValueError: the log is empty.
    """
    if not log:
        raise ValueError("a log without steps has no curves")
    steps = [line["number"] + 1 for line in log]
    loss = np.array([line["loss"] for line in log])
    figure = new_figure(9, 3.2)
    left, right = figure.subplots(1, 2)
    left.plot(steps, loss, color=BLUE, alpha=0.25, linewidth=0.8)
    left.plot(steps, smoothed(loss), color=BLUE, linewidth=2, label="loss, smoothed")
    left.axhline(guessing, color=GRAY, linestyle="--", label=f"guessing: {guessing:.2f} nats")
    left.set(xlabel="step", ylabel="nats a choice", title="contrastive loss")
    left.set_ylim(bottom=0)
    left.legend(frameon=False)
    right.plot(steps, [line["temperature"] for line in log], color=ORANGE, linewidth=2)
    right.set(xlabel="step", ylabel="cosines are divided by", title="temperature")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def smoothed(values: np.ndarray) -> np.ndarray:
    """The running mean, weighted so that its first values are not pulled towards 0."""
    means, total, weight = np.empty(len(values)), 0.0, 0.0
    for i, value in enumerate(values):
        total = SMOOTHING * total + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        means[i] = total / weight
    return means


def stage_curves(logs: Sequence[tuple[str, Sequence[Mapping[str, float]]]]) -> Figure:
    """The loss of each stage, side by side, in one scale.

    Args:
        logs: a stage's name and its log, a mapping for each step with number and loss.

    Raises:
        ValueError: there is no log, or one is empty.
    """
    if not logs or not all(log for _, log in logs):
        raise ValueError("a log without steps has no curves")
    figure = new_figure(3.1 * len(logs), 3)
    panels = np.atleast_1d(figure.subplots(1, len(logs), sharey=True))
    for axes, (name, log) in zip(panels, logs, strict=True):
        loss = np.array([line["loss"] for line in log])
        steps = [line["number"] + 1 for line in log]
        axes.plot(steps, loss, color=BLUE, alpha=0.25, linewidth=0.8)
        axes.plot(steps, smoothed(loss), color=BLUE, linewidth=2)
        axes.set(xlabel="step", title=name)
        axes.set_yscale("log")
        axes.spines[["top", "right"]].set_visible(False)
        axes.annotate(
            f"{smoothed(loss)[-1]:.3f}",
            (steps[-1], smoothed(loss)[-1]),
            textcoords="offset points",
            xytext=(0, 22),
            ha="right",
            color=ORANGE,
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    panels[0].set_ylabel("nats a token that is learnt")
    return figure

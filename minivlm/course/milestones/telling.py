"""A training is told in a few lines, and not in as many as it has steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minivlm.train.loop import Step


def told(training: Iterable[Step], steps: int, lines: int, say: Callable[[str], None]) -> None:
    """Go through a training to its end, and say its loss now and then.

    Args:
        training: from `train`.
        steps: that it has.
        lines: how often to say something, at most once a step.
        say: prints a line.
    """
    for step in training:
        if (step.number + 1) % max(1, steps // lines) == 0:
            say(f"  step {step.number + 1:3} of {steps}: loss {step.loss:.3f}")

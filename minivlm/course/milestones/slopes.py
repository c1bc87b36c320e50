"""Does a model's gradient agree with the slope that one measures? Asked before a training starts.

With a wrong gradient a model may still get better, only worse than it should, and nobody knows
why. Here it shows at once, and by the name of a parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minivlm.gradcheck import slope
from minivlm.nn.module import Module
from minivlm.tensor import Tensor

STEP = 1e-5  # length of a step to each side
BOUND = 1e-5  # of the difference; right gradients are off by some 1e-8
NUDGE = 0.02  # standard deviation
SMALLEST = 1e-2  # gradients shorter than this are held to the same absolute bound


def gradients_agree(
    model: Module,
    loss: Callable[[], Tensor],
    rng: np.random.Generator,
    say: Callable[[str], None],
) -> bool:
    """Hold the gradient of each parameter against central differences, in float64.

    It is done at a point near the present one, where nothing is by chance 0 or 1.

    Args:
        model: is in float64 while this runs, and after it as it was.
        loss: of the model, on a few examples.
        rng: draws a direction for each parameter.
        say: is told what was found.

    Returns:
        Whether all agree.
    """
    before = {name: p.data for name, p in model.named_parameters().items()}
    for p in model.astype(np.float64).parameters():
        p.data = p.data + NUDGE * rng.standard_normal(p.shape)  # no gain is 1, no bias is 0
    loss().backward()
    moving = {name: p for name, p in model.named_parameters().items() if p.requires_grad}
    grads = {
        name: np.zeros_like(p.data) if p.grad is None else p.grad for name, p in moving.items()
    }
    found = []
    for name, p in moving.items():
        direction = rng.standard_normal(p.shape)
        step = STEP / math.sqrt(direction.size)
        measured = slope(lambda: loss().item(), p, direction, step)
        claimed = float((grads[name] * direction).sum())
        length = math.sqrt(float((grads[name] * grads[name]).sum()))
        error = abs(claimed - measured) / max(length, SMALLEST)
        found.append((error if math.isfinite(error) else math.inf, name, claimed, measured))
    for name, p in model.named_parameters().items():
        p.data, p.grad = before[name], None
    worst, name, claimed, measured = max(found)
    if worst <= BOUND:
        say(
            f"The gradients of all {len(moving)} parameters agree with measured slopes: "
            f"the worst is off by {worst:.0e}."
        )
        return True
    say(
        f"The gradient of {name} is wrong: it says {claimed:.6g} along a random direction, and one "
        f"measures {measured:.6g}."
    )
    say("So training would go another way than downhill, and is not begun.")
    return False

"""The training loop: a generator that takes a step each time it is asked for one.

The caller drives: it draws curves, saves, and stops by not asking again.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from minivlm.tensor import Array, Tensor
from minivlm.train.optim import Optimizer

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Step:
    """What happened in one update.

    Attributes:
        number: 0 for the first of the run.
        loss: before the update, in nats.
        factor: of the learning rates.
        grad_norm: length of the whole gradient, before clipping.
        seconds: of wall time that it took, its batch included.
    """

    number: int
    loss: float
    factor: float
    grad_norm: float
    seconds: float


class Diverged(RuntimeError):
    """A loss or a gradient is not a number any more; training on would ruin the weights."""


def train(
    loss: Callable[[Batch], Tensor | float],
    batches: Iterable[Batch],
    optimizer: Optimizer,
    schedule: Callable[[int], float] = lambda step: 1.0,
    *,
    clip: float = 1.0,
    after_step: Callable[[], None] | None = None,
    start: int = 0,
) -> Iterator[Step]:
    """One update for each batch.

    Args:
        loss: a batch's loss, a scalar; or its value alone, where its gradients are already in the
            parameters, as `accumulate` and `parallel` leave them.
        batches: ends when they do.
        optimizer: moves the weights.
        schedule: number of the step -> factor of the learning rates.
        clip: longest gradient; a longer one is scaled down to it.
        after_step: called after each update, such as `model.clamp_scale`.
        start: number of the first step.

    Yields:
        A Step after each update.

    Raises:
        Diverged: the loss or a gradient is infinite or no number; nothing was moved by it.
    """
    began = time.perf_counter()
    for number, batch in enumerate(batches, start):
        optimizer.zero_grad()
        nats = loss(batch)
        if isinstance(nats, Tensor):
            nats.backward()
            nats = nats.item()
        grad_norm = clip_gradients(optimizer.parameters, clip)
        if not (math.isfinite(nats) and math.isfinite(grad_norm)):
            raise Diverged(f"step {number}: {first_bad(nats, optimizer.parameters)}")
        factor = schedule(number)
        optimizer.step(factor)
        if after_step is not None:
            after_step()
        now = time.perf_counter()
        yield Step(number, nats, factor, grad_norm, now - began)
        began = time.perf_counter()


def clip_gradients(parameters: dict[str, Tensor], most: float) -> float:
    """Scale all gradients so that together they are no longer than `most`; their length before."""
    grads = [p.grad for p in parameters.values() if p.grad is not None]
    length = math.sqrt(sum(_square(grad) for grad in grads))
    if most < length < math.inf:  # an infinite one has no direction; `train` stops at it
        for grad in grads:
            grad *= most / length
    return length


def first_bad(nats: float, parameters: dict[str, Tensor]) -> str:
    """Which number went wrong first, in words: a weight, a gradient, or only the loss."""
    for name, p in parameters.items():
        if not math.isfinite(_square(p.data)):
            return f"the weight {name} is not finite"
    for name, p in parameters.items():
        if p.grad is not None and not math.isfinite(_square(p.grad)):
            return f"the gradient of {name} is not finite (the loss is {nats:g})"
    return f"the loss is {nats:g}"


def _square(array: Array) -> float:
    """The squared length of an array, without a temporary of its size."""
    flat = array.ravel()
    return float(np.dot(flat, flat))

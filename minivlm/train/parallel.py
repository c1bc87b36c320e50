"""One batch on several cores: a copy of the model for each part, and one set of weights for all.

NumPy lets go of Python's lock while it computes, so threads are enough, and they share memory: the
copies hold the same arrays of weights. Only gradients are their own, and are added at the end,
always in the same order, so that the bits do not depend on which thread was first.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from minivlm.nn.module import Module
from minivlm.tensor import Array, Tensor

Model = TypeVar("Model", bound=Module)
Part = TypeVar("Part")
Result = TypeVar("Result")


class Replicas(Generic[Model]):
    """A model and its copies, each with gradients of its own.

    Args:
        model: the first of them, whose gradients the optimizer reads.
        count: how many there are, the model included.

    Raises:
        ValueError: there is not even one.
    """

    def __init__(self, model: Model, count: int):
        if count < 1:
            raise ValueError(f"{count} replicas cannot share the work")
        self.models = [model] + [copy.deepcopy(model) for _ in range(count - 1)]
        self._pool = ThreadPoolExecutor(count)

    def map(self, work: Callable[[Model, Part], Result], parts: Sequence[Part]) -> list[Result]:
        """Do the work on one part with each model at the same time; the results in order."""
        return list(self._pool.map(work, self.models, parts))

    def share(self) -> None:
        """Let the copies see the model's weights, and what of them is frozen; drop gradients."""
        own = self.models[0].parameters()
        for other in self.models[1:]:
            for mine, theirs in zip(own, other.parameters(), strict=True):
                theirs.data, theirs.requires_grad = mine.data, mine.requires_grad
                theirs.grad = None

    def gather(self) -> None:
        """Add the copies' gradients to the model's."""
        own = self.models[0].parameters()
        for other in self.models[1:]:
            for mine, theirs in zip(own, other.parameters(), strict=True):
                if theirs.grad is not None:
                    mine.grad = theirs.grad if mine.grad is None else mine.grad + theirs.grad

    def sum_of_losses(self, loss: Callable[[Model, Part], Tensor], parts: Sequence[Part]) -> float:
        """The sum of the parts' losses; leaves its gradient in the model.

        Args:
            loss: of one part, weighted so that the parts' losses may be added.
            parts: one for each model at most.
        """

        def forward_backward(model: Model, part: Part) -> float:
            nats = loss(model, part)
            nats.backward()
            return nats.item()

        self.share()
        nats = self.map(forward_backward, parts)
        self.gather()
        return sum(nats)

    def contrastive(
        self,
        encode: Callable[[Model, Part], tuple[Tensor, Tensor]],
        loss_of: Callable[[Tensor, Tensor], Tensor],
        parts: Sequence[Part],
    ) -> float:
        """A loss that needs all pairs at once; leaves its gradient in the model.

        Each part is embedded apart; the loss is taken of all embeddings together; its gradient
        with respect to them goes back part by part.

        Args:
            encode: a part's image and text embeddings, (n, E) each.
            loss_of: of all image and text embeddings (N, E), a scalar.
            parts: one for each model at most.
        """
        self.share()
        encoded = self.map(encode, parts)
        whole = [
            Tensor(np.concatenate([e.data for e in side]), requires_grad=True)
            for side in zip(*encoded, strict=True)
        ]
        loss = loss_of(*whole)
        loss.backward()
        ends = np.cumsum([len(image) for image, _ in encoded])
        grads = zip(*(_split(side, ends) for side in whole), strict=True)
        self.map(lambda _, pair: _send_back(*pair), list(zip(encoded, grads, strict=True)))
        self.gather()
        return loss.item()

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()


def _split(side: Tensor, ends: Array) -> list[Array]:
    assert side.grad is not None
    return np.split(side.grad, ends[:-1])


def _send_back(embeddings: Sequence[Tensor], grads: Sequence[Array]) -> None:
    """Start the backward pass at embeddings whose gradients are known."""
    for embedding, grad in zip(embeddings, grads, strict=True):
        if embedding.requires_grad:  # a frozen tower has nothing to learn
            (embedding * grad).sum().backward()


def parts_of(count: int, parts: int) -> list[slice]:
    """Even slices of `count` examples; fewer than `parts` where there are fewer examples."""
    bounds = np.linspace(0, count, min(parts, count) + 1).astype(int)
    return [slice(a, b) for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


def even_work(lengths: Sequence[int], parts: int) -> list[slice]:
    """Slices of texts, sorted by length, such that the largest part is as small as can be.

    A part costs as many positions as its longest text has, for each of its texts.

    Args:
        lengths: of the texts, in rising order.
        parts: at most.
    """

    def filled(most: int) -> list[slice]:
        """Parts that cost no more than `most`, each as long as that allows."""
        slices, start = [], 0
        for end, length in enumerate(lengths, start=1):
            if (end - start) * length > most:
                slices.append(slice(start, end - 1))
                start = end - 1
        return [*slices, slice(start, len(lengths))]

    low, high = max(lengths), len(lengths) * max(lengths)
    while low < high:  # the least cost at which there are few enough parts
        middle = (low + high) // 2
        low, high = (low, middle) if len(filled(middle)) <= parts else (middle + 1, high)
    return filled(low)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside this block each matrix product uses one core: the parts share the cores out.

    Small products gain next to nothing from more; measured in docs/training.md.
    """
    with threadpool_limits(1, user_api="blas"):
        yield

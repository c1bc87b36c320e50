"""Putting tensors together: one after another, or element by element."""

import itertools
from collections.abc import Sequence

import numpy as np

from minivlm.tensor import Array, Tensor, as_tensor, record


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors one after another along an axis that they all have."""
    ends = list(itertools.accumulate(x.shape[axis] for x in tensors))

    def concatenate_backward(dy: Array) -> tuple[Array, ...]:
        return tuple(np.split(dy, ends[:-1], axis))

    y = np.concatenate([x.data for x in tensors], axis)
    return record(y, (tuple(tensors), concatenate_backward))


def where(condition: Array, a: Tensor, b: Tensor | Array | float) -> Tensor:
    """Elements of `a` where the condition holds, of `b` elsewhere; all three broadcast."""
    b = as_tensor(b, like=a)
    return record(
        np.where(condition, a.data, b.data),
        (a, lambda dy: np.where(condition, dy, 0)),
        (b, lambda dy: np.where(condition, 0, dy)),
    )

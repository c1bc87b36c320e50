"""The gradients that one recorded op passes to its inputs, without walking a tape."""

from __future__ import annotations

import numpy as np

from minivlm.tensor import Array, Tensor, sum_to


def vjps(y: Tensor, dy: Array, *inputs: Tensor) -> list[np.ndarray]:
    """What each input gets from the last op.

    Args:
        y: what the op gave.
        dy: dL/dy.
        inputs: leaves that the op was given.

    Returns:
        For each input the sum of what arrives along the op's edges, in the input's shape; NaN if
        nothing does.
    """
    arrived: dict[int, list[np.ndarray]] = {id(x): [] for x in inputs}
    for targets, shapes, vjp in (y.node.edges or []) if y.node else []:
        gradients = vjp(dy)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        for target, shape, dx in zip(targets, shapes, gradients, strict=True):
            if id(target) in arrived:
                arrived[id(target)].append(dx if dx.shape == shape else sum_to(dx, shape))
    return [
        np.sum(arrived[id(x)], axis=0, dtype=x.dtype)
        if arrived[id(x)]
        else np.full(x.shape, np.nan, x.dtype)
        for x in inputs
    ]

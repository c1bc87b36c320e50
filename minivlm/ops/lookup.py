"""Picking rows of a table by number, and dropping numbers at random."""

import numpy as np

from minivlm.device import to_host
from minivlm.tensor import Array, Tensor, record


def embedding(weight: Tensor, ids: Array) -> Tensor:
    """The row of a table for each id.

    Args:
        weight: the table (V, D).
        ids: integers 0..V-1, of any shape (...).

    Returns:
        Rows (..., D).

    Raises:
        ValueError: ids are no integers or not in 0..V-1, or weight is no table.
    """
    if ids.dtype.kind not in "iu":
        raise ValueError(f"ids must be integers, not {ids.dtype}")
    if weight.ndim != 2:
        raise ValueError(f"a table has two axes, not shape {weight.shape}")
    table = weight.data
    check_ids("ids", ids, len(table))

    def embedding_d_weight(dy: Array) -> Array:
        d_weight = np.zeros_like(table)
        np.add.at(d_weight, ids, dy)  # an id that occurs twice gets both gradients
        return d_weight

    return record(table[ids], (weight, embedding_d_weight))


def check_ids(name: str, ids: Array, V: int) -> None:
    """Every id is in 0..V-1. NumPy would take −1 for the last row, and CuPy wraps any number.

    Raises:
        ValueError: one is not.
    """
    outside = (ids < 0) | (ids >= V)
    if to_host(outside.sum()):  # the one wait for a device
        least, most = to_host(ids.min()), to_host(ids.max())
        raise ValueError(f"{name} {least}..{most} are not all in 0..{V - 1}")


def dropout(x: Tensor, rate: float, rng: np.random.Generator) -> Tensor:
    """Set each element to 0 with probability `rate`; scale the rest so that the mean stays.

    Args:
        x: any shape.
        rate: probability to drop, at least 0 and below 1.
        rng: decides which.

    Returns:
        The shape of x.

    Raises:
        ValueError: the rate is not in [0, 1).

    Source: Srivastava et al. 2014, section 10 (the "inverted" form).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout rate {rate} is not in [0, 1)")
    kept = rng.random(x.shape, np.float32) >= rate
    factor = np.asarray(kept * (1 / (1 - rate)), dtype=x.dtype, like=x.data)
    return record(x.data * factor, (x, lambda dy: dy * factor))

"""What kernels ask of arrays: dtypes, new arrays on the same device, masks without copies.

An array is NumPy's (the simulator and the CPU executor run the kernels on it) or CuPy's (a GPU
does). Nothing here asks which: `like=` and NumPy's own functions follow the array.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from minivlm.errors import InputError
from minivlm.tensor import Array
from minivlm_kernels.needs import MISSING

try:
    import ml_dtypes
except ImportError:
    raise InputError(MISSING.format(package="ml_dtypes")) from None

BF16 = np.dtype(ml_dtypes.bfloat16)
F32 = np.dtype(np.float32)

_poison = ContextVar("poison", default=False)


@contextmanager
def poisoned_outputs() -> Iterator[None]:
    """Fill arrays that kernels are to write with NaN first: what was not written is then seen."""
    token = _poison.set(True)
    try:
        yield
    finally:
        _poison.reset(token)


def output(shape: tuple[int, ...], dtype: np.dtype, like: Array) -> Array:
    """A new array for a kernel to write, on the device of `like`; its content means nothing."""
    array = np.empty(shape, dtype, like=like)
    if _poison.get():
        array[...] = np.nan
    return array


def visible(mask: Array | None, shape: tuple[int, int, int, int], like: Array) -> Array:
    """The mask as (B, H, T, S), where axes that it lacks have stride 0: a view, nothing is copied.

    Without a mask, one True stands for all.
    """
    if mask is None:
        mask = np.ones((1, 1, 1, 1), bool, like=like)
    return np.broadcast_to(mask, shape)


def reach(T: int, S: int, causal: bool) -> int:
    """How far past its own position a query may look: it sees key j where j ≤ i + reach."""
    return S - T if causal else S


def padded(x: Array, multiple: int, dtype: np.dtype) -> Array:
    """The array in a dtype, its last axis filled up with zeros, which change no dot product.

    Args:
        x: (..., n).
        multiple: of what the last axis is to be.
        dtype: of the result.

    Returns:
        x itself where it is so already; contiguous, unless it is x.
    """
    n = x.shape[-1]
    if n % multiple == 0:
        return x.astype(dtype, copy=False)
    wider = np.zeros((*x.shape[:-1], n + -n % multiple), dtype, like=x)
    wider[..., :n] = x
    return wider

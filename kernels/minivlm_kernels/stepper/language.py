"""What kernels find under the name `cuda` while the stepper runs them."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

from minivlm_kernels.stepper.memory import Memory, Tracked
from minivlm_kernels.stepper.places import Dim, Index

ATOMICS: dict[str, Callable] = {"add": operator.add, "max": max, "min": min}
KNOWN = (
    "threadIdx, blockIdx, blockDim, gridDim, grid, gridsize, shared.array, local.array, "
    "atomic.add, atomic.max, atomic.min, syncthreads and syncwarp"
)


class Names(SimpleNamespace):
    """A part of `cuda`, which says what there is when it is asked for something else."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"of cuda, the stepper knows {KNOWN}; not {name}")


class Cuda(Names):
    """The part of `numba.cuda` that the stepper knows.

    Barriers are not here: each has become a `yield` before a kernel runs.

    Attributes:
        blockIdx: the block whose threads run now.
        threadIdx: the thread that runs now.
    """

    blockIdx: Dim
    threadIdx: Dim

    def __init__(self, grid: Dim, block: Dim, memory: Memory):
        """For one launch."""
        self.gridDim = grid
        self.blockDim = block
        self.shared = Names(array=_shared_array(memory))
        self.local = Names(array=_local_array(memory))
        self.atomic = Names(**{name: _atomic(change) for name, change in ATOMICS.items()})

    def grid(self, ndim: int) -> int | Index:
        """The thread's index in the whole grid, along the first axes."""
        at = zip(self.blockIdx, self.blockDim, self.threadIdx, strict=True)
        return _first(ndim, [block * size + thread for block, size, thread in at])

    def gridsize(self, ndim: int) -> int | Index:
        """How many threads the grid has, along the first axes."""
        sizes = zip(self.gridDim, self.blockDim, strict=True)
        return _first(ndim, [blocks * threads for blocks, threads in sizes])


def _first(ndim: int, numbers: list[int]) -> int | Index:
    return numbers[0] if ndim == 1 else tuple(numbers[:ndim])


def _shared_array(memory: Memory) -> Callable[..., Tracked]:
    def array(shape: int | Index, dtype: object, *, name: str, call: object) -> Tracked:
        return memory.shared(call, name, shape, _numpy(dtype))

    return array


def _local_array(memory: Memory) -> Callable[..., Tracked]:
    def array(shape: int | Index, dtype: object, *, name: str, call: object) -> Tracked:
        return memory.local(name, shape, _numpy(dtype))

    return array


def _atomic(change: Callable) -> Callable:
    def update(array: Tracked, index: int | Index, value: object) -> np.generic:
        return array.update(index, change, value, sys._getframe(1))

    return update


def _numpy(dtype: Any) -> np.dtype:
    """NumPy's dtype for one of NumPy's or Numba's types."""
    return np.dtype(getattr(dtype, "name", dtype))

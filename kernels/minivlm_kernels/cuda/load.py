"""One way to run a `.cu` file: on a GPU through CuPy, or on the CPU through g++.

Where the arrays are decides. The text of the kernel is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from minivlm.tensor import Array

HERE = Path(__file__).parent
Argument = Array | np.generic | None  # None is a null pointer


class Kernels(Protocol):
    """The kernels of one compiled `.cu` file."""

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: Sequence[Argument],
        shared_bytes: int = 0,
    ) -> None:
        """Run one kernel over a grid of blocks.

        Args:
            name: the kernel's name, `extern "C"`.
            grid: blocks along x, y, z.
            block: threads along x, y, z.
            arguments: arrays as pointers, NumPy scalars by value, None as a null pointer.
            shared_bytes: dynamic shared memory of a block.
        """
        ...


Loader = Callable[[Path], Kernels]

_loader: ContextVar[Loader | None] = ContextVar("loader", default=None)


@contextmanager
def loaded_by(loader: Loader) -> Iterator[None]:
    """Within, `loader(source)` gives the kernels of a file, and nothing is compiled."""
    token = _loader.set(loader)
    try:
        yield
    finally:
        _loader.reset(token)


def load(source: Path, like: Array, **defines: int) -> Kernels:
    """The compiled file, for the device that `like` is on.

    Args:
        source: a `.cu` file.
        like: an array on that device.
        **defines: macros, such as C=64 for the head size.

    Raises:
        InputError: the device's compiler is missing.
    """
    loader = _loader.get()
    if loader is not None:
        return loader(source)
    return _load(source, isinstance(like, np.ndarray), tuple(sorted(defines.items())))


@cache
def _load(source: Path, on_cpu: bool, defines: tuple[tuple[str, int], ...]) -> Kernels:
    if on_cpu:
        from minivlm_kernels.cuda.cpu import CpuKernels

        return CpuKernels(source, dict(defines))
    from minivlm_kernels.cuda.gpu import GpuKernels

    return GpuKernels(source, dict(defines))

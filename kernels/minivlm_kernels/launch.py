"""How a Numba kernel is launched: by Numba, or by whoever stepped in to watch it.

Numba runs it on a GPU, or in its simulator where NUMBA_ENABLE_CUDASIM=1 was set before it was
imported. `minivlm_kernels.stepper` runs the same source a step at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from minivlm.errors import InputError
from minivlm.tensor import Array
from minivlm_kernels.needs import MISSING

try:
    from numba import cuda
except ImportError:
    raise InputError(MISSING.format(package="Numba")) from None

Grid = tuple[int, ...]
Runner = Callable[..., None]  # (kernel, grid, block, arguments)

_runner: ContextVar[Runner | None] = ContextVar("runner", default=None)


@contextmanager
def launched_by(runner: Runner) -> Iterator[None]:
    """Within, `runner(kernel, grid, block, arguments)` runs the kernels, not Numba."""
    token = _runner.set(runner)
    try:
        yield
    finally:
        _runner.reset(token)


def launch(kernel, grid: Grid, block: Grid, *arguments: Array | np.generic) -> None:
    """Run a kernel over a grid of blocks.

    Args:
        kernel: what `numba.cuda.jit` made of a function.
        grid: blocks along x, y, z.
        block: threads along x, y, z.
        *arguments: arrays, which the kernel may write, and NumPy scalars.
    """
    runner = _runner.get()
    if runner is not None:
        runner(kernel, grid, block, arguments)
    else:
        kernel[grid, block](*(_seen_by_numba(argument) for argument in arguments))


def _seen_by_numba(argument: Array | np.generic) -> object:
    """CuPy's arrays are wrapped once, without the wait that Numba would add to every launch.

    Both libraries use the default stream, which keeps their work in order. The simulator writes
    every array back after a launch, so those that may only be read, such as masks, are copied.
    """
    if isinstance(argument, np.ndarray):
        return argument if argument.flags.writeable else argument.copy()
    if isinstance(argument, np.generic):
        return argument
    return cuda.as_cuda_array(argument, sync=False)

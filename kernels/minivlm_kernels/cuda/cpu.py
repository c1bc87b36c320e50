"""Runs a `.cu` file on the CPU: compiled by g++, a kernel is a function, and a launch a call.

Beside running, it looks for what a GPU would not tell: `KernelError` says what a kernel did wrong.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from minivlm_kernels.cuda.declared import declared
from minivlm_kernels.cuda.gplusplus import compiled
from minivlm_kernels.cuda.load import Argument
from minivlm_kernels.cuda.passed import Dim3, passed

MOST_THREADS = 1024  # of a block
MOST_SHARED = 227 * 1024  # bytes of a block, on Hopper
_order: ContextVar[int] = ContextVar("order", default=0)


class KernelError(RuntimeError):
    """A kernel did what no kernel may do; the message names kernel, block, thread and line."""


@dataclass
class Counts:
    """What kernels did, summed over launches.

    Attributes:
        tensor_multiply_adds: by `mma_bf16`.
        multiply_adds: by `fmaf`.
        exponentials: by `exp2f` and its kin.
        bytes_to_shared: by `copy16` and `cp_async16`.
        bytes_put: by `put`.
        matrix_loads: 8×8 matrices that `ldmatrix` read.
        matrix_load_turns: turns that shared memory took for them; as many, where no banks collide.
    """

    tensor_multiply_adds: int = 0
    multiply_adds: int = 0
    exponentials: int = 0
    bytes_to_shared: int = 0
    bytes_put: int = 0
    matrix_loads: int = 0
    matrix_load_turns: int = 0

    @property
    def conflict_degree(self) -> float:
        """Turns a matrix load, 1 where no banks collide; NaN without a load."""
        return self.matrix_load_turns / self.matrix_loads if self.matrix_loads else float("nan")


_counts: ContextVar[Counts | None] = ContextVar("counts", default=None)


@contextmanager
def schedule(order: int) -> Iterator[None]:
    """Within, kernels run their threads in another order.

    Args:
        order: 0 first to last, and copies in the background come late; 1 last to first, and they
            come at once; from 2 on a seed that decides both by chance.
    """
    token = _order.set(order)
    try:
        yield
    finally:
        _order.reset(token)


@contextmanager
def counted() -> Iterator[Counts]:
    """Within, operations and bytes of all launches are counted (in slower code)."""
    counts = Counts()
    token = _counts.set(counts)
    try:
        yield counts
    finally:
        _counts.reset(token)


class CpuKernels:
    """The kernels of one `.cu` file, compiled for this CPU.

    Args:
        source: the file.
        defines: macros.

    Raises:
        InputError: there is no g++, or it does not accept the file.
    """

    def __init__(self, source: Path, defines: dict[str, int]):
        self.source, self.defines = source, defines
        self.parameters = declared(source.read_text(encoding="utf-8"))
        self._libraries: dict[bool, ctypes.CDLL] = {}
        self._library(counting=False)

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: Sequence[Argument],
        shared_bytes: int = 0,
    ) -> None:
        """See `Kernels.launch`; in the order that `schedule` chose.

        Raises:
            ValueError: the arguments are not those that the kernel declares, or the block is
                larger than a GPU takes.
            KernelError: what the kernel did wrong.
        """
        if name not in self.parameters:
            raise ValueError(f"{self.source.name} has no kernel {name}")
        where = f"{self.source.name}: {name}"
        if np.prod(block) > MOST_THREADS or min(*grid, *block) < 1:
            raise ValueError(
                f"{where}: a block has 1..{MOST_THREADS} threads, not {block}; grid {grid}"
            )
        if shared_bytes > MOST_SHARED:
            raise ValueError(
                f"{where}: a block has at most {MOST_SHARED} bytes of shared memory, "
                f"not {shared_bytes}"
            )
        given, alive = passed(where, self.parameters[name], arguments)
        counts = _counts.get()
        library = self._library(counting=counts is not None)
        run = getattr(library, f"launch_{name}")
        run.restype = ctypes.c_char_p
        error = run(given, Dim3.of(grid), Dim3.of(block), ctypes.c_size_t(shared_bytes),
                    ctypes.c_uint(_order.get()))  # fmt: skip
        del alive
        if counts is not None:
            _add_counts(library, counts)
        if error:
            raise KernelError(f"{where}, {error.decode()}")

    def _library(self, counting: bool) -> ctypes.CDLL:
        if counting not in self._libraries:
            defines = {**self.defines, **({"COUNTED": 1} if counting else {})}
            path = compiled(self.source, defines, list(self.parameters))
            self._libraries[counting] = ctypes.CDLL(str(path))
        return self._libraries[counting]


def _add_counts(library: ctypes.CDLL, counts: Counts) -> None:
    """Take the library's counts and add them."""
    taken = (ctypes.c_uint64 * len(fields(Counts)))()
    library.take_counts(taken)
    for field, number in zip(fields(Counts), taken, strict=True):
        setattr(counts, field.name, getattr(counts, field.name) + number)

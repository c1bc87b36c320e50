"""How the host launches its kernels: the host code runs, and launches are noted, not made.

So the threads and the shared memory of a block are those that a GPU would be asked for, and no
second list of them can fall behind.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numba import typeof, types

from minivlm_kernels.arrays import BF16, F32
from minivlm_kernels.cuda.load import loaded_by
from minivlm_kernels.launch import launched_by


class Launch(NamedTuple):
    """How a kernel is launched.

    Attributes:
        threads: of a block.
        shared: bytes of shared memory of a block, beyond what the code itself asks for.
        arguments: what they are, as `kind_of` tells it; of a kernel in Python.
    """

    threads: int
    shared: int
    arguments: tuple[str, ...] = ()


class InFile(NamedTuple):
    """A kernel in CUDA C++: its file and its name."""

    file: str
    name: str


Launches = dict[Hashable, Launch]  # by the kernel: an object in Python, or InFile


def launches_of(module: ModuleType, size: int) -> Launches:
    """All launches that a module's functions make, given small arrays of one head size or width.

    Called is every public function that asks for nothing but arrays of the first steps, of an
    attention or of a contrastive loss. Whether it takes float32 or bfloat16, it says itself.
    """
    with _noted() as noted, np.errstate(all="ignore"):  # results are whatever was in memory
        for function in _host_functions(module):
            for dtype in (F32, BF16):
                given = _arrays(size, dtype)
                wanted = {name: given[name] for name in _required(function)}
                with suppress(ValueError):  # it takes the other
                    function(**wanted)
    return noted


def kind_of(argument: object) -> str:
    """The type of an argument, or one that a signature asks for: "int32", or "float32[:,:]"."""
    if isinstance(argument, np.ndarray | types.Array):
        return f"{argument.dtype}[{','.join(':' * argument.ndim)}]"
    return str(argument if isinstance(argument, types.Type) else typeof(argument))


class _Notes:
    """In place of a compiled `.cu` file."""

    def __init__(self, source: Path, note: Callable[[Hashable, Launch], None]):
        self.file, self.note = source.name, note

    def launch(self, name, grid, block, arguments, shared_bytes=0):
        """See `Kernels.launch`."""
        self.note(InFile(self.file, name), Launch(math.prod(block), shared_bytes))


@contextmanager
def _noted() -> Iterator[Launches]:
    """Within, launches are noted; of several launches of one kernel, the largest."""
    noted: Launches = {}

    def note(kernel: Hashable, launch: Launch) -> None:
        noted[kernel] = max(noted.get(kernel, launch), launch)

    def run(kernel, grid, block, arguments) -> None:
        note(kernel, Launch(math.prod(block), 0, tuple(map(kind_of, arguments))))

    with launched_by(run), loaded_by(lambda source: _Notes(source, note)):
        yield noted


def _host_functions(module: ModuleType) -> list[Callable]:
    known = _arrays(16, F32).keys()
    return [
        function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
        if _required(function) and known >= set(_required(function))
    ]


def _required(function: Callable) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.default is inspect.Parameter.empty]


def _arrays(size: int, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Small matrices, an attention of one position and one head, and a loss of one pair."""
    steps = {name: np.zeros((size, size), dtype) for name in ("x", "a", "b")}
    heads = {name: np.zeros((1, 1, 1, size), dtype) for name in ("q", "k", "v", "o", "do")}
    pairs = {name: np.zeros((1, size), dtype) for name in ("image", "text")}
    of_pairs = {name: np.zeros(1, F32) for name in ("scale", "bias", "row_lse", "col_lse")}
    return {**steps, **heads, "lse": np.zeros((1, 1, 1), F32), **pairs, **of_pairs}

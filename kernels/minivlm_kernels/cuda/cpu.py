"""Runs a `.cu` file on the CPU: compiled by g++, a kernel is a function, and a launch a call.

Beside running, it looks for what a GPU would not tell: `KernelError` says what a kernel did wrong.
"""

from __future__ import annotations

import ctypes
import math
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from minivlm_kernels.cuda.declared import declared
from minivlm_kernels.cuda.gplusplus import compiled, line_of
from minivlm_kernels.cuda.load import Argument
from minivlm_kernels.cuda.passed import Slot, check_arguments, check_memory, passed

MOST_THREADS = 1024  # of a block
MOST_BLOCKS = (2**31 - 1, 65535, 65535)  # along x, y, z
MOST_SHARED = 227 * 1024  # bytes of a block, on Hopper

_order: ContextVar[int] = ContextVar("order", default=0)
_one_at_a_time = threading.Lock()  # a library runs one launch, and signals have one handler


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
        copies: by `copy16` and `cp_async16`, those of 8 neighbouring lanes as one.
        copy_turns: turns that shared memory took to store them; as many, where no banks collide.
    """

    tensor_multiply_adds: int = 0
    multiply_adds: int = 0
    exponentials: int = 0
    bytes_to_shared: int = 0
    bytes_put: int = 0
    matrix_loads: int = 0
    matrix_load_turns: int = 0
    copies: int = 0
    copy_turns: int = 0

    @property
    def conflict_degree(self) -> float:
        """Turns a matrix load, 1 where no banks collide; NaN without a load."""
        return self.matrix_load_turns / self.matrix_loads if self.matrix_loads else float("nan")

    @property
    def copy_conflict_degree(self) -> float:
        """Turns a copy of 8 lanes, 1 where no banks collide; NaN without a copy."""
        return self.copy_turns / self.copies if self.copies else float("nan")


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
        self.kernels = declared(source.read_text(encoding="utf-8"))
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
            ValueError: the arguments are not those that the kernel declares.
            KernelError: what the kernel, or its launch, did wrong.
        """
        where = f"{self.source.name}: {name}"
        if name not in self.kernels:
            raise ValueError(f"{self.source.name} has no kernel {name}")
        parameters = self.kernels[name].parameters
        check_arguments(where, parameters, arguments, np.ndarray)
        check_memory(where, parameters, arguments)
        check_launch(where, grid, block, shared_bytes)
        given, alive = passed(parameters, arguments)
        counts = _counts.get()
        library = self._library(counting=counts is not None)
        launch = _Launch(
            given=given,
            grid=_Dim3.of(grid),
            block=_Dim3.of(block),
            shared_bytes=shared_bytes,
            order=_order.get(),
            heeds_ctrl_c=signal.getsignal(signal.SIGINT) is signal.default_int_handler,
            counting=counts is not None,
        )
        run = getattr(library, f"launch_{name}")
        run.restype = ctypes.POINTER(_Failure)
        with _one_at_a_time:
            told = run(ctypes.byref(launch))
            failure = _Failure.from_buffer_copy(told.contents) if told else None
            if counts is not None:
                _add_counts(library, counts)
        del alive
        if failure is not None:
            raise failure.error(where, Path(library._name))

    def _library(self, counting: bool) -> ctypes.CDLL:
        if counting not in self._libraries:
            defines = {**self.defines, **({"COUNTED": 1} if counting else {})}
            library = compiled(self.source, defines, self.kernels)
            self._libraries[counting] = ctypes.CDLL(str(library))
        return self._libraries[counting]


def check_launch(
    where: str, grid: tuple[int, ...], block: tuple[int, ...], shared_bytes: int
) -> None:
    """A GPU takes as many threads, blocks and bytes.

    Raises:
        KernelError: it does not.
    """
    if not 1 <= math.prod(block) <= MOST_THREADS:
        raise KernelError(f"{where}: a block has 1..{MOST_THREADS} threads, not {block}")
    sizes = zip(grid, MOST_BLOCKS, strict=False)
    if any(not 1 <= size <= most for size, most in sizes):
        raise KernelError(
            f"{where}: a grid has 1..{MOST_BLOCKS} blocks along x, y and z, not {grid}"
        )
    if shared_bytes > MOST_SHARED:
        raise KernelError(
            f"{where}: a block has at most {MOST_SHARED} bytes of shared memory, not {shared_bytes}"
        )


class _Dim3(ctypes.Structure):
    _fields_ = (("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint))

    @classmethod
    def of(cls, sizes: tuple[int, ...]) -> _Dim3:
        return cls(*(*sizes, 1, 1)[:3])


class _Launch(ctypes.Structure):
    _fields_ = (
        ("given", ctypes.POINTER(Slot)),
        ("grid", _Dim3),
        ("block", _Dim3),
        ("shared_bytes", ctypes.c_uint64),
        ("order", ctypes.c_uint64),
        ("heeds_ctrl_c", ctypes.c_uint64),
        ("counting", ctypes.c_uint64),
        ("body", ctypes.c_void_p),  # the library fills these in
        ("count", ctypes.c_int),
        ("most_threads", ctypes.c_uint),
    )


class _Failure(ctypes.Structure):
    """As `on_cpu/faults.h` has it."""

    _fields_ = (
        ("sentence", ctypes.c_char * 512),
        ("instruction", ctypes.c_uint64),
        ("interrupted", ctypes.c_uint64),
        ("is_in_block", ctypes.c_uint64),
        ("block", _Dim3),
    )

    def error(self, where: str, library: Path) -> BaseException:
        """What is to be raised."""
        if self.interrupted:
            return KeyboardInterrupt()
        block = f", block ({self.block.x}, {self.block.y}, {self.block.z})"
        place = line_of(library, self.instruction)
        sentence = self.sentence.decode() + (f" ({place})" if place else "")
        return KernelError(f"{where}{block if self.is_in_block else ''}: {sentence}")


def _add_counts(library: ctypes.CDLL, counts: Counts) -> None:
    """Take the library's counts and add them."""
    taken = (ctypes.c_uint64 * len(fields(Counts)))()
    library.take_counts(taken)
    for field, number in zip(fields(Counts), taken, strict=True):
        setattr(counts, field.name, getattr(counts, field.name) + number)

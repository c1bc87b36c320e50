"""Runs a `.cu` file on the CPU: g++ compiles its text after `cuda_cpu.h`, and a launch is a call.

Beside running, it looks for what a GPU would not tell: `KernelError` says what a kernel did wrong.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivlm.errors import InputError
from minivlm_kernels.arrays import BF16
from minivlm_kernels.cuda.load import HERE, Argument

MOST_THREADS = 1024  # of a block
MOST_SHARED = 227 * 1024  # bytes of a block, on Hopper
FLAGS = ["-std=c++17", "-O2", "-march=native", "-fno-strict-aliasing", "-fPIC", "-shared", "-w"]
FLAGS += ["-fvisibility=hidden", "-fno-gnu-unique", "-U_FORTIFY_SOURCE"]

KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)'
)
TYPES = {  # of parameters, by what is written in a .cu file
    "float": np.dtype(np.float32),
    "bf16": BF16,
    "__nv_bfloat16": BF16,
    "int": np.dtype(np.int32),
    "unsigned": np.dtype(np.uint32),
    "long long": np.dtype(np.int64),
    "unsigned char": np.dtype(np.bool_),
    "bool": np.dtype(np.bool_),
}

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


class Parameter(NamedTuple):
    """A parameter of a kernel, as its `.cu` file declares it."""

    name: str
    dtype: np.dtype
    is_pointer: bool
    is_const: bool


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
        error = run(given, _Dim3.of(grid), _Dim3.of(block), ctypes.c_size_t(shared_bytes),
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


def declared(text: str) -> dict[str, list[Parameter]]:
    """The kernels of a `.cu` file and their parameters."""
    text = re.sub(r"//[^\n]*", "", text)
    kernels = {}
    for name, parameters in KERNEL.findall(text):
        kernels[name] = [_parameter(words) for words in parameters.split(",")]
    return kernels


def _parameter(words: str) -> Parameter:
    """Such as `const float* scale`."""
    kind, name = re.fullmatch(r"\s*(.*?)(\w+)\s*", words, re.DOTALL).groups()  # pyright: ignore
    kind = " ".join(kind.replace("__restrict__", " ").split())
    is_const, is_pointer = kind.startswith("const "), "*" in kind
    base = kind.removeprefix("const ").replace("*", "").strip()
    if base not in TYPES:
        raise ValueError(f"a kernel's parameter may not be of type {base!r}")
    return Parameter(name, TYPES[base], is_pointer, is_const)


class _Argument(ctypes.Structure):
    """As `on_cpu/launch.h` has it."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("array", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("is_written", ctypes.c_int64),
    )


class _Dim3(ctypes.Structure):
    _fields_ = (("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint))

    @classmethod
    def of(cls, sizes: tuple[int, ...]) -> _Dim3:
        return cls(*(*sizes, 1, 1)[:3])


def passed(
    where: str, parameters: Sequence[Parameter], arguments: Sequence[Argument]
) -> tuple[ctypes.Array, list]:
    """The arguments as C sees them, and what must stay alive meanwhile.

    Raises:
        ValueError: one is not what the kernel declares.
    """
    if len(parameters) != len(arguments):
        raise ValueError(f"{where} takes {len(parameters)} arguments, not {len(arguments)}")
    given = (_Argument * len(arguments))()
    alive = []
    for slot, parameter, argument in zip(given, parameters, arguments, strict=True):
        if argument is None and parameter.is_pointer:
            nothing = ctypes.c_void_p(0)
            slot.value = ctypes.addressof(nothing)
            alive.append(nothing)
            continue
        is_array = isinstance(argument, np.ndarray)
        if not isinstance(argument, np.ndarray | np.generic) or is_array != parameter.is_pointer:
            kind = "an array" if parameter.is_pointer else "a NumPy scalar"
            raise ValueError(f"{where}: {parameter.name} is {kind}, not {type(argument).__name__}")
        if argument.dtype != parameter.dtype:
            raise ValueError(
                f"{where}: {parameter.name} is {parameter.dtype}, not {argument.dtype}"
            )
        if is_array:
            slot.array = argument.ctypes.data
            slot.bytes = spanned_bytes(argument)
            slot.is_written = not parameter.is_const
            if not parameter.is_const and not argument.flags.writeable:
                raise ValueError(f"{where}: {parameter.name} is written, and may only be read")
        else:
            cell = np.array(argument)
            slot.value = cell.ctypes.data
            alive.append(cell)
    return given, alive


def spanned_bytes(array: np.ndarray) -> int:
    """From the first byte of an array to its last; a view with strides of 0 spans little."""
    if not array.size:
        return 0
    if min(array.strides, default=0) < 0:
        raise ValueError(f"an array with negative strides {array.strides} cannot be passed")
    steps = zip(array.shape, array.strides, strict=True)
    return sum((n - 1) * stride for n, stride in steps) + array.itemsize


def compiled(source: Path, defines: dict[str, int], kernels: Sequence[str]) -> Path:
    """The shared library for a `.cu` file, compiled anew only when something changed.

    Raises:
        InputError: there is no g++, or it does not accept the file.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise InputError(
            f"{source.name} needs g++ to run on a CPU (Debian: apt install g++); with a GPU and "
            f"CuPy the same file runs without it"
        )
    program = "\n".join(
        [
            '#include "cuda_cpu.h"',
            f'#include "{source}"',
            *(
                f'extern "C" __attribute__((visibility("default"))) const char* launch_{name}('
                "const cpu::Argument* a, dim3 grid, dim3 block, size_t shared, unsigned order) "
                f"{{ return cpu::launch({name}, a, grid, block, shared, order); }}"
                for name in kernels
            ),
            "",
        ]
    )
    macros = [f"-D{name}={value}" for name, value in sorted(defines.items())]
    command = [compiler, *FLAGS, *macros, f"-I{HERE}", f"-I{source.parent}"]
    library = _cache() / f"{_fingerprint(source, program, command)}.so"
    if not library.exists():
        _compile(source, program, command, library)
    return library


def _compile(source: Path, program: str, command: list[str], library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        text, made = Path(folder) / "program.cpp", Path(folder) / "library.so"
        text.write_text(program, encoding="utf-8")
        done = subprocess.run(
            [*command, "-o", str(made), str(text)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error:" in line]
            raise InputError(f"{source.name}: g++ says {' '.join(errors[:1]) or done.stderr[:500]}")
        os.replace(made, library)


def _fingerprint(source: Path, program: str, command: list[str]) -> str:
    """A name for all that decides about the library: texts, options, compiler and processor."""
    version = subprocess.run([command[0], "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(version + "\0".join([program, *command]).encode())
    included = [*HERE.rglob("*.h"), *HERE.glob("*.cuh"), *source.parent.glob("*.cuh"), source]
    for path in sorted(included):
        digest.update(path.read_bytes())
    cpuinfo = Path("/proc/cpuinfo")  # -march=native: another processor may lack what this one has
    if cpuinfo.exists():
        flags = re.search(r"^flags.*$", cpuinfo.read_text(), re.MULTILINE)
        digest.update(flags.group().encode() if flags else b"")
    return f"{source.stem}-{digest.hexdigest()[:20]}"


def _cache() -> Path:
    """The user's own folder for compiled kernels; no one else may write there."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "minivlm-kernels"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _add_counts(library: ctypes.CDLL, counts: Counts) -> None:
    """Take the library's counts and add them."""
    taken = (ctypes.c_uint64 * len(fields(Counts)))()
    library.take_counts(taken)
    for field, number in zip(fields(Counts), taken, strict=True):
        setattr(counts, field.name, getattr(counts, field.name) + number)

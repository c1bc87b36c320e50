"""Runs a `.cu` file on a GPU, through CuPy's RawModule, and tells what the GPU is like."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minivlm.errors import InputError
from minivlm_kernels.arrays import BF16
from minivlm_kernels.cuda.declared import declared
from minivlm_kernels.cuda.load import HERE, Argument
from minivlm_kernels.cuda.passed import check_arguments
from minivlm_kernels.needs import BF16_NEEDS

FREE_SHARED = 48 * 1024  # bytes of shared memory that a block gets without asking


def options(source: Path, defines: dict[str, int]) -> tuple[str, ...]:
    """What NVRTC is told; CuPy adds the architecture."""
    macros = (f"-D{name}={value}" for name, value in sorted(defines.items()))
    return ("--std=c++17", f"-I{HERE}", f"-I{source.parent}", *macros)


def code(source: Path) -> str:
    """The file's text, as CuPy is given it.

    NVRTC's messages name the file. And CuPy, which keeps what it compiled, sees by the last line if
    a file has changed that this one includes.
    """
    digest = hashlib.sha256()
    for folder in (HERE, source.parent):
        for path in sorted(folder.glob("*.cuh")):
            digest.update(path.read_bytes())
    text = source.read_text(encoding="utf-8")
    return f'#line 1 "{source.name}"\n{text}\n// {digest.hexdigest()}\n'


class GpuKernels:
    """The kernels of one `.cu` file, compiled for the current GPU.

    Args:
        source: the file.
        defines: macros.

    Raises:
        InputError: CuPy, a GPU or its compiler is missing, or the GPU is too old.
    """

    def __init__(self, source: Path, defines: dict[str, int]):
        cupy = _cupy()
        self.source, self._array_type = source, cupy.ndarray
        self._declared = declared(source.read_text(encoding="utf-8"))
        takes = {p.dtype for kernel in self._declared.values() for p in kernel.parameters}
        if BF16 in takes and capability() < BF16_NEEDS:
            found, needed = (".".join(map(str, v)) for v in (capability(), BF16_NEEDS))
            raise InputError(
                f"{source.name} needs compute capability {needed}, and this GPU has {found}; the "
                f"float32 rungs and the NumPy reference run on it"
            )
        module = cupy.RawModule(code=code(source), options=options(source, defines))
        try:
            module.compile()
        except (RuntimeError, cupy.cuda.compiler.CompileException) as error:
            # The compiler is missing or too new for the driver, or does not find its headers.
            lines = str(error).strip().splitlines()
            told = next((line for line in lines if "error" in line), lines[0] if lines else "")
            raise InputError(
                f"{source.name} could not be compiled ({told.strip()}); "
                f"python -m minivlm_kernels.doctor says what is missing"
            ) from error
        self._kernels = {name: module.get_function(name) for name in self._declared}
        self._shared_bytes = dict.fromkeys(self._declared, FREE_SHARED)  # that a block may have

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: Sequence[Argument],
        shared_bytes: int = 0,
    ) -> None:
        """See `Kernels.launch`; returns before the kernel has run.

        Raises:
            ValueError: the arguments are not those that the kernel declares.
            InputError: the GPU's blocks have less shared memory.
        """
        if name not in self._kernels:
            raise ValueError(f"{self.source.name} has no kernel {name}")
        where = f"{self.source.name}: {name}"
        check_arguments(where, self._declared[name].parameters, arguments, self._array_type)
        kernel = self._kernels[name]
        if shared_bytes > self._shared_bytes[name]:
            most = _attribute("MaxSharedMemoryPerBlockOptin")
            if shared_bytes > most:
                raise InputError(
                    f"{where} needs {shared_bytes} bytes of shared memory a block, and this GPU "
                    f"has {most}"
                )
            kernel.max_dynamic_shared_size_bytes = shared_bytes
            self._shared_bytes[name] = shared_bytes
        pointers = tuple(np.uint64(0) if x is None else x for x in arguments)
        kernel(grid, block, pointers, shared_mem=shared_bytes)


def array_type() -> type:
    """The type of arrays on a GPU.

    Raises:
        InputError: CuPy or a GPU is missing.
    """
    return _cupy().ndarray


def capability() -> tuple[int, int]:
    """The compute capability of the current GPU, such as (9, 0).

    Raises:
        InputError: CuPy or a GPU is missing.
    """
    digits = _cupy().cuda.Device().compute_capability  # such as "90"
    return int(digits[:-1]), int(digits[-1])


def multiprocessors() -> int:
    """How many multiprocessors the current GPU has: blocks that run at once."""
    return _attribute("MultiProcessorCount")


def _attribute(name: str) -> int:
    """What the current GPU has, by CUDA's name for it."""
    return int(_cupy().cuda.Device().attributes[name])


def free_memory() -> None:
    """Give CuPy's unused memory back, so that a smaller attempt can succeed."""
    _cupy().get_default_memory_pool().free_all_blocks()


def _cupy():
    """CuPy, where there is a GPU for it."""
    try:
        import cupy  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            'kernels on a GPU need CuPy: pip install "minivlm[cuda13]" (or cuda12); without a GPU, '
            "install(np.ndarray) runs them on the CPU"
        ) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise InputError(
            f"CuPy finds no usable GPU driver ({error}); python -m minivlm_kernels.doctor says more"
        ) from None
    if not count:
        raise InputError("CuPy is there, and no GPU; python -m minivlm_kernels.doctor says more")
    return cupy

"""Runs a `.cu` file on a GPU, through CuPy's RawModule: the only rungs' file to import CuPy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minivlm.errors import InputError
from minivlm_kernels.arrays import BF16
from minivlm_kernels.cuda.declared import declared
from minivlm_kernels.cuda.load import HERE, Argument

BF16_NEEDS = (8, 0)  # compute capability: mma.sync on bf16 came with Ampere
FREE_SHARED = 48 * 1024  # bytes of shared memory that a block gets without asking


def options(source: Path, defines: dict[str, int]) -> tuple[str, ...]:
    """What NVRTC is told; CuPy adds the architecture."""
    macros = (f"-D{name}={value}" for name, value in sorted(defines.items()))
    return ("--std=c++17", f"-I{HERE}", f"-I{source.parent}", *macros)


class GpuKernels:
    """The kernels of one `.cu` file, compiled for the current GPU when one is first launched.

    Args:
        source: the file.
        defines: macros.

    Raises:
        InputError: CuPy, a GPU or its compiler is missing, or the GPU is too old.
    """

    def __init__(self, source: Path, defines: dict[str, int]):
        cupy = _cupy()
        text = source.read_text(encoding="utf-8")
        takes = {parameter.dtype for kernel in declared(text).values() for parameter in kernel}
        if BF16 in takes and capability() < BF16_NEEDS:
            found, needed = (".".join(map(str, v)) for v in (capability(), BF16_NEEDS))
            raise InputError(
                f"{source.name} needs compute capability {needed}, and this GPU has {found}; the "
                f"float32 rungs and the NumPy reference run on it"
            )
        self._module = cupy.RawModule(code=text, options=options(source, defines))
        try:
            self._module.compile()
        except RuntimeError as error:  # a compiler that is missing, or too new for the driver
            raise InputError(
                f"{source.name} could not be compiled ({error}); python -m minivlm_kernels.doctor "
                f"says what is missing"
            ) from None
        self._most_shared: dict[str, int] = {}

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: Sequence[Argument],
        shared_bytes: int = 0,
    ) -> None:
        """See `Kernels.launch`; returns before the kernel has run."""
        kernel = self._module.get_function(name)
        if shared_bytes > max(FREE_SHARED, self._most_shared.get(name, 0)):
            kernel.max_dynamic_shared_size_bytes = shared_bytes
            self._most_shared[name] = shared_bytes
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
    return int(_cupy().cuda.Device().attributes["MultiProcessorCount"])


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

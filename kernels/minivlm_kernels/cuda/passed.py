"""Arguments as `on_cpu/launch.h` takes them, checked against what the kernel declares."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from minivlm_kernels.cuda.declared import Parameter
from minivlm_kernels.cuda.load import Argument


class _Argument(ctypes.Structure):
    """As `on_cpu/launch.h` has it."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("array", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("is_written", ctypes.c_int64),
    )


class Dim3(ctypes.Structure):
    """CUDA's dim3."""

    _fields_ = (("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint))

    @classmethod
    def of(cls, sizes: tuple[int, ...]) -> Dim3:
        """One to three sizes; those that are missing are 1."""
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

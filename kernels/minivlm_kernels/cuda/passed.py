"""Arguments of a launch: what must be true of them, and how C sees them."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence

import numpy as np

from minivlm_kernels.cuda.declared import Parameter
from minivlm_kernels.cuda.load import Argument


def check_arguments(
    where: str, parameters: Sequence[Parameter], arguments: Sequence[Argument], array_type: type
) -> None:
    """The arguments are as many as the kernel declares, and of its types.

    Args:
        where: file and kernel, for the sentence.
        parameters: what the kernel declares.
        arguments: what it is given: arrays, NumPy scalars, None as a null pointer.
        array_type: of arrays on the device that the kernel runs on.

    Raises:
        ValueError: one is not what the kernel declares.
    """
    if len(parameters) != len(arguments):
        raise ValueError(f"{where} takes {len(parameters)} arguments, not {len(arguments)}")
    for parameter, argument in zip(parameters, arguments, strict=True):
        if argument is None and parameter.is_pointer:
            continue
        wanted, kind = np.generic, "a NumPy scalar"
        if parameter.is_pointer:
            wanted, kind = array_type, "an array"
        if argument is None or not isinstance(argument, wanted):
            given = type(argument).__name__
            raise ValueError(f"{where}: {parameter.name} is {kind}, not {given}")
        if argument.dtype != parameter.dtype:
            raise ValueError(
                f"{where}: {parameter.name} is {parameter.dtype}, not {argument.dtype}"
            )


def check_memory(
    where: str, parameters: Sequence[Parameter], arguments: Sequence[Argument]
) -> None:
    """Arrays can be copied, and copied back, each by itself.

    Raises:
        ValueError: one cannot.
    """
    arrays = [
        (parameter, argument)
        for parameter, argument in zip(parameters, arguments, strict=True)
        if isinstance(argument, np.ndarray)
    ]
    for parameter, array in arrays:
        if min(array.strides, default=0) < 0:
            raise ValueError(f"{where}: {parameter.name} has negative strides {array.strides}")
        if not parameter.is_const and not array.flags.writeable:
            raise ValueError(f"{where}: {parameter.name} is written, and may only be read")
    for (one, x), (other, y) in itertools.combinations(arrays, 2):
        if not (one.is_const and other.is_const) and np.may_share_memory(x, y):
            raise ValueError(
                f"{where}: {one.name} and {other.name} share memory, and one of them is written; "
                f"on a CPU each is copied"
            )


class Slot(ctypes.Structure):
    """As `on_cpu/launch.h` has it."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("value", ctypes.c_void_p),
        ("array", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("is_written", ctypes.c_uint64),
    )


def passed(
    parameters: Sequence[Parameter], arguments: Sequence[Argument]
) -> tuple[ctypes.Array, list]:
    """The arguments as C sees them, and what must stay alive meanwhile."""
    given = (Slot * max(1, len(arguments)))()
    alive = []
    for slot, parameter, argument in zip(given, parameters, arguments, strict=False):
        slot.name = parameter.name.encode()
        if isinstance(argument, np.ndarray):
            slot.array = argument.ctypes.data
            slot.bytes = spanned_bytes(argument)
            slot.offset = offset_in_owner(argument)
            slot.is_written = not parameter.is_const
        else:
            cell = np.zeros(1, np.int64) if argument is None else np.array(argument)
            slot.value = cell.ctypes.data
            alive.append(cell)
    return given, alive


def spanned_bytes(array: np.ndarray) -> int:
    """From the first byte of an array to its last; a view with strides of 0 spans little."""
    if not array.size:
        return 0
    steps = zip(array.shape, array.strides, strict=True)
    return sum((n - 1) * stride for n, stride in steps) + array.itemsize


def offset_in_owner(array: np.ndarray) -> int:
    """Bytes from the array that owns the memory: on a GPU, which aligns owners, it is the same."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return array.ctypes.data - owner.ctypes.data

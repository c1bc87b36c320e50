"""Where arrays live. The only file that imports CuPy, and only when a GPU is asked for.

The rest of minivlm calls `np.` everywhere: a CuPy array answers NumPy's calls itself, so an array
carries its device along and no function needs to be told.
"""

from __future__ import annotations

import numpy as np

from minivlm.errors import InputError
from minivlm.tensor import Array


def to_device(array: Array, device: str) -> Array:
    """The array on "cpu" or "cuda"; itself where it is there already.

    Raises:
        InputError: the device is unknown, or CuPy or a GPU is missing.
    """
    if device == "cpu":
        return to_host(array)
    if device != "cuda":
        raise InputError(f'device "{device}" is neither "cpu" nor "cuda"')
    try:
        import cupy  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError('device "cuda" needs CuPy: pip install "cupy-cuda13x[ctk]"') from None
    return cupy.asarray(array)


def to_host(array: Array) -> np.ndarray:
    """The array in the memory of the host."""
    return array if isinstance(array, np.ndarray | np.generic) else array.get()


def device_of(array: Array) -> str:
    """Where the array is: "cpu" or "cuda"."""
    return "cpu" if isinstance(array, np.ndarray | np.generic) else "cuda"


def check_together(**arrays: Array) -> None:
    """One op's arrays must be on one device.

    Raises:
        ValueError: they are not; the sentence says which is where.
    """
    where = {name: device_of(array) for name, array in arrays.items()}
    if len(set(where.values())) > 1:
        places = ", ".join(f"{name} is on {device}" for name, device in where.items())
        raise ValueError(f"{places}: bring them together with to_device")

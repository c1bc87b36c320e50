"""safetensors files, read with suspicion and written whole.

A file is eight bytes of header length, a JSON header that gives each array's dtype, shape and
place, and the arrays' bytes. Whatever a damaged file says, the reader looks only inside it.

Source: huggingface/safetensors, README, "Format".
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from minivlm.errors import InputError
from minivlm.files import write_bytes
from minivlm.tensor import Array

LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit
DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,  # read as its bits, and widened to float32
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def write_arrays(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays and some words about them as one file, atomically."""
    # safetensors writes the memory as it lies: a transposed view would be stored wrong (#825)
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_bytes(path, save(whole, dict(metadata)))


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file by name, and the words about them; bfloat16 comes as float32.

    Raises:
        InputError: the file is missing, cut short or damaged; with the key.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    header, start = _header(path, raw)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise InputError(f'{path}: "__metadata__" is not an object of strings')
    places = sorted(
        (*_place(path, name, entry, len(raw) - start), name) for name, entry in header.items()
    )
    end = 0
    for first, last, name in places:
        if first < end:
            raise InputError(f'{path}: the bytes of "{name}" overlap those before')
        end = last
    arrays = {}
    for first, last, name in places:
        entry = header[name]
        array = np.frombuffer(raw[start + first : start + last], DTYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":  # the upper half of a float32's bits
            array = (array.astype(np.uint32) << 16).view(np.float32)
        try:
            arrays[name] = array.reshape(entry["shape"])
        except ValueError:  # without elements, and yet with an axis longer than any may be
            raise InputError(f'{path}: the entry of "{name}" is damaged') from None
    return arrays, metadata


def _header(path: Path, raw: bytes) -> tuple[dict[str, Any], int]:
    """The header, and where the arrays begin."""
    if len(raw) < 8:
        raise InputError(f"{path}: cut short, {len(raw)} bytes are no safetensors file")
    length = int.from_bytes(raw[:8], "little")
    if length > min(len(raw) - 8, LONGEST_HEADER):
        raise InputError(f"{path}: cut short or damaged, its header exceeds the file")
    try:
        header = json.loads(raw[8 : 8 + length])
    except (ValueError, RecursionError):
        raise InputError(f"{path}: damaged, its header is not JSON") from None
    if not isinstance(header, dict):
        raise InputError(f"{path}: damaged, its header is not an object")
    return header, 8 + length


def _place(path: Path, name: str, entry: Any, size: int) -> tuple[int, int]:
    """First and last byte of an array, known to hold its shape and to lie in the file."""
    try:
        dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise InputError(f'{path}: the entry of "{name}" is damaged') from None
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise InputError(f'{path}: "{name}" has an unknown dtype {dtype!r}')
    numbers = [first, last, *shape] if isinstance(shape, list) else [None]
    if not all(type(n) is int and n >= 0 for n in numbers) or len(shape) > 32:
        raise InputError(f'{path}: the entry of "{name}" is damaged')
    if last > size:
        raise InputError(f'{path}: cut short, "{name}" ends {last - size} bytes after the file')
    if last - first != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
        raise InputError(f'{path}: "{name}" of shape {tuple(shape)} has {last - first} bytes')
    return first, last

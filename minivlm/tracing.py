"""Every op on one line as it happens, and every step of the way back.

    with minivlm.trace():
        loss = model.loss(pixels, ids)
        loss.backward()

Forward lines give an op's name, the shape and range of its value and where it was called from;
backward lines the size of the gradient that arrived and where its gradient function is written.
Editors and terminals turn `file:line` into a link.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np

from minivlm.tensor import Array, Edge, Node, Tensor
from minivlm.watch import watched_by

HOME = Path(__file__).parent
MACHINERY = {str(HOME / "tensor.py"), str(HOME / "tracing.py")}  # where no op is called from
OPS = str(HOME / "ops") + os.sep


@contextmanager
def trace(write: Callable[[str], None] = print) -> Iterator[None]:
    """Inside this block each op writes one line, and so does each step of `backward`.

    Args:
        write: gets each line.
    """
    with watched_by(Tracer(write)):
        yield


class Tracer:
    """Turns what a watcher is told into lines."""

    def __init__(self, write: Callable[[str], None]):
        self.write = write

    def forward(self, y: Tensor, inputs: tuple[Tensor, ...]) -> None:
        """One line for an op's value."""
        del inputs
        op, caller = op_and_caller(sys._getframe(1))
        self.write(_line("→", op_name(op), y.data, f"{_range(y.data)}", caller))

    def backward(self, node: Node, dy: Array, edges: list[Edge]) -> None:
        """One line for the gradient that a value has got."""
        size = math.sqrt(float((dy.astype(np.float64) ** 2).sum()))
        code = edges[0].vjp.__code__ if edges else None
        where = f"{_short(code.co_filename)}:{code.co_firstlineno}" if code else ""
        self.write(_line("←", op_name(node.name), dy, f"|dy| {size:.4g}", where))


def op_name(name: str) -> str:
    """How an op is called, from the name of a node or of the function that recorded it."""
    return name.split(".")[-1].strip("_").removesuffix("_arrays")


def op_and_caller(frame: FrameType | None) -> tuple[str, str]:
    """The op that is being recorded, by name, and the place `file:line` that called it."""
    name = "record"
    while frame is not None:
        file = frame.f_code.co_filename
        if file not in MACHINERY and not file.startswith(OPS):
            return name, f"{_short(file)}:{frame.f_lineno}"
        if frame.f_code.co_name != "record":
            name = frame.f_code.co_name
        frame = frame.f_back
    return name, ""


def _line(arrow: str, op: str, array: Array, measure: str, where: str) -> str:
    shape = "×".join(map(str, array.shape)) or "scalar"
    return f"{arrow} {op:<16} {shape:<14} {array.dtype!s:<8} {measure:<24} {where}"


def _range(array: Array) -> str:
    return f"{array.min():.4g} … {array.max():.4g}" if array.size else "empty"


def _short(file: str) -> str:
    """Relative to the working directory where that is shorter, as editors like it.

    A notebook's cell is a file only by name, one that no one could open: it is called "cell".
    """
    if Path(file).parent.name.startswith("ipykernel_"):
        return "cell"
    try:
        relative = os.path.relpath(file)
    except ValueError:  # another drive
        return file
    return min(relative, file, key=len)

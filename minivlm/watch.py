"""Lets someone look on while ops are recorded and gradients pass: for traces and pictures.

`tensor.py` asks `watcher()` at each op and at each step of the way back; mostly there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Watcher(Protocol):
    """What looks on.

    Attributes:
        forward: called with (y, inputs) when an op has computed the Tensor y from Tensors.
        backward: called with (node, dy, edges) when all of the gradient dy of a node's value has
            arrived, before it is passed along the edges.
    """

    forward: Callable[..., None]
    backward: Callable[..., None]


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
watcher = _watcher.get


@contextmanager
def watched_by(someone: Watcher) -> Iterator[None]:
    """Inside this block, `someone` sees every op, forward and backward."""
    token = _watcher.set(someone)
    try:
        yield
    finally:
        _watcher.reset(token)

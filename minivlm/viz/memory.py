"""The mountain of memory: what the forward pass keeps, and the way back frees, op by op.

with watch_memory() as memory:
    loss(x).backward()
memory.draw()

What is held is asked of Python's own account, in which NumPy enters its arrays.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from minivlm.tensor import Array, Edge, Node, Tensor
from minivlm.tracing import op_and_caller, op_name
from minivlm.viz.style import BLUE, FONT, GREEN, ORANGE, new_figure
from minivlm.watch import watched_by

WAYS = {"forward": BLUE, "the way back": ORANGE, "after": GREEN}


class Moment(NamedTuple):
    """What was held when an op was done, when a step of the way back began, or after all.

    Attributes:
        op: its name.
        way: a key of WAYS.
        held: bytes of Python's and NumPy's memory more than at the beginning.
    """

    op: str
    way: str
    held: int


class Memory:
    """A watcher that asks for the memory at each op; made by `watch_memory`."""

    def __init__(self):
        self.moments: list[Moment] = []
        self.start = _held()

    def forward(self, y: Tensor, inputs: tuple[Tensor, ...]) -> None:
        """An op has computed its value."""
        del y, inputs
        self._note(op_and_caller(sys._getframe(1))[0], "forward")

    def backward(self, node: Node, dy: Array, edges: list[Edge]) -> None:
        """A step of the way back begins."""
        del dy, edges
        self._note(node.name, "the way back")

    def end(self) -> None:
        """The block is left."""
        self._note("end", "after")

    def steps(self) -> int:
        """How many steps the way back had."""
        return sum(moment.way == "the way back" for moment in self.moments)

    def _note(self, name: str, way: str) -> None:
        self.moments.append(Moment(op_name(name), way, _held() - self.start))

    @property
    def peak(self) -> int:
        """The most that was held at any of the moments, in bytes."""
        return max(moment.held for moment in self.moments)

    def draw(self) -> Figure:
        """The memory over the moments of one pass, with the ops' names beneath."""
        return memory_mountains({"": self})


@contextmanager
def watch_memory() -> Iterator[Memory]:
    """Note at each op of this block what is held. Slow: Python accounts for each allocation."""
    ours = not tracemalloc.is_tracing()
    if ours:
        tracemalloc.start()
    try:
        memory = Memory()
        with watched_by(memory):
            yield memory
        memory.end()
    finally:
        if ours:
            tracemalloc.stop()


def memory_mountains(memories: Mapping[str, Memory]) -> Figure:
    """One mountain for each pass, side by side, in one scale: up is forward, down the way back.

    Args:
        memories: titles and what was watched.

    Raises:
        ValueError: there is none, or one saw no op.
    """
    if not memories or any(len(memory.moments) < 2 for memory in memories.values()):
        raise ValueError("where no op was seen there is no mountain")
    longest = max(len(memory.moments) for memory in memories.values())
    wide = 0.8 + longest * (0.26 if len(memories) == 1 else 0.14)
    figure = new_figure(max(3.2, wide) * len(memories), 3.4)
    panels = figure.subplots(1, len(memories), sharey=True, squeeze=False)[0]
    for axes, (title, memory) in zip(panels, memories.items(), strict=True):
        moments = memory.moments
        held = [moment.held / 1e6 for moment in moments]
        axes.bar(range(len(held)), held, color=[WAYS[m.way] for m in moments], width=0.85)
        axes.set_xticks(range(len(held)), [m.op for m in moments], rotation=90, fontsize=FONT - 3)
        axes.set_title(title, fontsize=FONT)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("MB held")
    patches = [Patch(color=color, label=way) for way, color in WAYS.items()]
    figure.legend(handles=patches, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _held() -> int:
    return tracemalloc.get_traced_memory()[0]

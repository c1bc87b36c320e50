"""What is computed for E03: the order of steps in diamonds, in deep chains, in random graphs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.tensor import Node, Tensor, reachable, record, tape

DEEP = 3000  # more than Python's recursion takes


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Which two earlier values each step adds; a step may be left out of what the end needs."""
    yield {"steps": [(0, 0)], "end": 1}
    yield {"steps": [(0, 0), (1, 0), (1, 0), (2, 3)], "end": 4}  # a diamond
    yield {"steps": [(0, 0), (0, 1), (2, 1), (1, 3), (2, 4), (3, 5)], "end": 5}
    yield {"steps": [(n, n) for n in range(6)], "end": 5}  # 2⁶ ways from end to start
    for _ in range(4):
        many = int(rng.integers(6, 12))
        drawn = [tuple(rng.integers(0, n + 1, 2).tolist()) for n in range(many)]
        yield {"steps": drawn, "end": int(rng.integers(many // 2, many)), "frozen": True}
    yield {"steps": [(n, 0) for n in range(DEEP)], "end": DEEP}
    yield {"steps": [(0, 0), (1, 1), (2, 1)], "end": 3, "freed": 2, "raises": True}


def run(case: Case) -> Outputs:
    """Births, counted from the first step's: of what is reachable, sorted, and of the tape."""
    values = [Tensor([0.5], requires_grad=True)]
    other = Tensor([1.0], requires_grad=not case.get("frozen"))
    for a, b in case["steps"]:
        left, right = values[a], values[b] if b else other
        values.append(left + right if len(values) % 2 else _fused(left, right))
    nodes = [node for value in values if isinstance(node := value.node, Node)]
    end = values[case["end"]].node
    assert end is not None
    if "freed" in case:
        nodes[case["freed"] - 1].edges = None
    first = nodes[0].birth
    return {
        "reachable": np.sort([node.birth - first for node in reachable(end)]),
        "tape": np.array([node.birth - first for node in tape(end)]),
    }


def _fused(a: Tensor, b: Tensor) -> Tensor:
    """A sum with one edge for both inputs, as ops have whose gradients share work."""
    return record(a.data + b.data, ((a, b), lambda dy: (dy, dy)))

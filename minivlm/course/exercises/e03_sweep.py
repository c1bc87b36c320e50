"""What is computed for E03: the order of steps in diamonds, in deep chains, in random graphs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.tensor import Edge, Node, Tensor, reachable, record, tape

DEEP = 3000  # more than Python's recursion takes
LOOKS = 100  # at a node's edges; one is enough, walking every way takes 2¹⁰


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Which two earlier values each step adds; a step may be left out of what the end needs."""
    yield {"steps": [(0, 0)], "end": 1}
    yield {"steps": [(0, 0), (1, 0), (1, 0), (2, 3)], "end": 4}  # a diamond
    yield {"steps": [(0, 0), (0, 1), (2, 1), (1, 3), (2, 4), (3, 5)], "end": 5}
    yield {"steps": [(n, n) for n in range(11)], "end": 11}  # 2¹⁰ ways from the end to step 1
    for _ in range(4):
        many = int(rng.integers(6, 12))
        drawn = [tuple(rng.integers(0, n + 1, 2).tolist()) for n in range(many)]
        yield {"steps": drawn, "end": int(rng.integers(many // 2, many)), "frozen": True}
    deep = np.array([(n, 0) for n in range(DEEP)])  # an array, for only its shape is printed
    yield {"steps": deep, "end": DEEP}
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
    for node in nodes:
        node.edges = _Counted(node.edges or [])
    edges = [node.edges for node in nodes]
    if "freed" in case:
        nodes[case["freed"] - 1].edges = None
    first = nodes[0].birth
    return {
        "reachable": np.sort([node.birth - first for node in reachable(end)]),
        "tape": np.array([birth - first for birth in _settled(tape(end))]),
        "a node's edges looked at again and again": np.array(
            max(each.looks for each in edges if isinstance(each, _Counted)) > LOOKS
        ),
    }


class _Counted(list[Edge]):
    """Edges that count how often someone goes through them."""

    looks = 0

    def __iter__(self) -> Iterator[Edge]:
        self.looks += 1
        return super().__iter__()


def _settled(nodes: list[Node]) -> list[int]:
    """Births as they stand; sorted where every node stands after its inputs, for that will do."""
    place = {node: number for number, node in enumerate(nodes)}
    inputs = ((node, t) for node in place for edge in node.edges or [] for t in edge.targets)
    births = [node.birth for node in nodes]
    right = all(place.get(t, -1) < place[n] for n, t in inputs if isinstance(t, Node))
    return sorted(births) if right else births


def _fused(a: Tensor, b: Tensor) -> Tensor:
    """A sum with one edge for both inputs, as ops have whose gradients share work."""
    return record(a.data + b.data, ((a, b), lambda dy: (dy, dy)))

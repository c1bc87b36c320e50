"""The computation graph of a small program, each value with its gradient, and the tape's steps.

a, b = Tensor(2.0, requires_grad=True), Tensor(-3.0, requires_grad=True)
with watch_graph(a=a, b=b) as graph:
    (a * b + a).backward()
graph.draw()            # in Jupyter, the picture
graph.steps()           # one picture for each step of the way back
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from minivlm.tensor import Array, Edge, Node, Tensor
from minivlm.tracing import op_name
from minivlm.viz.style import BLUE, GRAY, GREEN, ORANGE
from minivlm.viz.svg import Drawing
from minivlm.watch import watched_by

SIGNS = {"add": "+", "sub": "−", "mul": "×", "truediv": "÷", "neg": "−"}
SIGNS |= {"pow": "power", "matmul": "@", "getitem": "[ ]"}
MOST = 60  # values in one picture; more could not be read
BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, MARGIN = 132.0, 58.0, 42.0, 22.0, 16.0
GRADIENT = "#A33B00"  # ink that can be read on white, which the palette's red is too light for


@dataclass(eq=False)
class Value:
    """One box: a leaf, a constant, or what an op computed."""

    tensor: Tensor
    label: str
    inputs: list[Value]
    column: int
    gradient: Array | None = None
    row: float = 0.0
    arrows: list[list[Value | Passage]] = field(default_factory=list)  # one from each input

    @property
    def sources(self) -> list[Value | Passage]:
        """What lies in the column before, where arrows come from."""
        return [arrow[-1] for arrow in self.arrows]


@dataclass(eq=False)
class Passage:
    """The place of an arrow in a column that it crosses."""

    column: int
    sources: list[Value | Passage]
    row: float = 0.0


@dataclass
class Step:
    """One step of the way back: whose gradient is passed on, and all that is known by then."""

    value: Value
    known: dict[int, Array] = field(default_factory=dict)  # by the id of a Value


class Graph:
    """A watcher that remembers every value; made by `watch_graph`."""

    def __init__(self, names: dict[str, Tensor]):
        self.values: list[Value] = []
        self.tape: list[Step] = []
        self._of_tensor: dict[int, Value] = {}
        self._of_node: dict[Node, Value] = {}
        for name, tensor in names.items():
            self._leaf(tensor, name)

    def forward(self, y: Tensor, inputs: tuple[Tensor, ...]) -> None:
        """A new value, to the right of all its inputs."""
        from_values = [self._of_tensor.get(id(x)) or self._leaf(x, "") for x in inputs]
        op = op_name(y.node.name) if y.node else "constant"
        column = 1 + max((value.column for value in from_values), default=0)
        value = Value(y, SIGNS.get(op, op), from_values, column)
        self._keep(value)
        if y.node is not None:
            self._of_node[y.node] = value

    def backward(self, node: Node, dy: Array, edges: list[Edge]) -> None:
        """The gradient of a value is complete."""
        del edges
        if node in self._of_node:  # else it was computed before the block began
            value = self._of_node[node]
            value.gradient = dy
            self.tape.append(Step(value, self._known()))

    def name(self, **names: Tensor) -> None:
        """Write beside the op of a value what the program calls it, as in "c = ×".

        Raises:
            ValueError: a tensor is no value of this graph.
        """
        for name, tensor in names.items():
            if id(tensor) not in self._of_tensor:
                raise ValueError(f"{name} was not computed while the graph was watched")
            value = self._of_tensor[id(tensor)]
            value.label = f"{name} = {value.label}"

    def draw(self, badges: Mapping[Node, str] | None = None) -> Drawing:
        """Every value and, where the way back has passed, its gradient.

        Args:
            badges: a word or two at the corner of a node's box, such as when it was visited.
        """
        drawing = self._draw(self._known(), None, "a computation graph")
        for value in self.values:
            if value.tensor.node is not None and badges and value.tensor.node in badges:
                draw_badge(drawing, value, badges[value.tensor.node])
        return drawing

    def steps(self) -> list[Drawing]:
        """A picture for each step of the tape, newest value first, and one of the end.

        The title of each says what happens in it.
        """
        pictures = [self._draw(step.known, step.value, told(step)) for step in self.tape]
        end = self._draw(self._known(), None, "the leaves keep their gradients")
        return [*pictures, end] if pictures else []

    def _leaf(self, tensor: Tensor, name: str) -> Value:
        value = Value(tensor, name or ("leaf" if tensor.requires_grad else "constant"), [], 0)
        self._keep(value)
        return value

    def _keep(self, value: Value) -> None:
        if len(self.values) == MOST:
            raise ValueError(f"a graph of more than {MOST} values cannot be read; watch fewer ops")
        self.values.append(value)
        self._of_tensor[id(value.tensor)] = value

    def _known(self) -> dict[int, Array]:
        """The gradients that are there now; a leaf's may still grow, so it is copied."""
        known = {}
        for value in self.values:
            gradient = value.gradient if value.inputs else value.tensor.grad
            if gradient is not None:
                known[id(value)] = gradient.copy()
        return known

    def _draw(self, known: dict[int, Array], active: Value | None, title: str) -> Drawing:
        columns = place(self.values)
        rows = max((len(column) for column in columns), default=1)
        width = 2 * MARGIN + len(columns) * (BOX_WIDTH + GAP_X) - GAP_X
        height = 2 * MARGIN + rows * (BOX_HEIGHT + GAP_Y) - GAP_Y
        drawing = Drawing(max(width, 1), max(height, 1), title)
        for value in self.values:
            for source, arrow, end in zip(value.inputs, value.arrows, arrivals(value), strict=True):
                passes = value is active and source.tensor.requires_grad
                draw_arrow(drawing, arrow, end, passes)
        for value in self.values:
            draw_value(drawing, value, known.get(id(value)), value is active)
        return drawing


@contextmanager
def watch_graph(**names: Tensor) -> Iterator[Graph]:
    """Remember every op of this block for a picture.

    Args:
        **names: leaves, under the names that the picture gives them.

    Raises:
        ValueError: in the block, when the graph gets too large to be read.
    """
    graph = Graph(names)
    with watched_by(graph):
        yield graph


def place(values: list[Value]) -> list[list[Value | Passage]]:
    """Give each value its row, near its inputs' rows; the columns, from the leaves on.

    A leaf is moved right beside the first op that uses it. An arrow that crosses columns gets a
    place of its own in each, so that it runs through no box.
    """
    for value in values:
        users = [user.column for user in values if value in user.inputs]
        if not value.inputs and users:
            value.column = min(users) - 1
    columns = [[] for _ in range(max((v.column for v in values), default=-1) + 1)]
    for value in values:
        columns[value.column].append(value)
        value.arrows = [passages(source, value.column) for source in value.inputs]
        for arrow in value.arrows:
            for passage in arrow[1:]:
                columns[passage.column].append(passage)
    tallest = max((len(column) for column in columns), default=0)
    for column in columns:
        column.sort(key=lambda box: np.mean([source.row for source in box.sources] or [0.0]))
        for i, box in enumerate(column):
            box.row = i + (tallest - len(column)) / 2
    return columns


def passages(source: Value, column: int) -> list[Value | Passage]:
    """A value and the places that an arrow from it to a column passes through."""
    arrow: list[Value | Passage] = [source]
    for between in range(source.column + 1, column):
        arrow.append(Passage(between, [arrow[-1]]))
    return arrow


def corner(box: Value | Passage) -> tuple[float, float]:
    """The upper left corner of a box."""
    x = MARGIN + box.column * (BOX_WIDTH + GAP_X)
    return x, MARGIN + box.row * (BOX_HEIGHT + GAP_Y)


def told(step: Step) -> str:
    """What a step does, in a sentence: "× has all of its gradient, ∂ 3: ..."."""
    value, takers = step.value, []
    for source in value.inputs:
        if source.tensor.requires_grad and source.label not in takers:
            takers.append(source.label)
    gradient = short(step.known[id(value)])
    return f"{value.label} has all of its gradient, ∂ {gradient}: shares go to {listed(takers)}"


def listed(names: list[str]) -> str:
    """Names with commas between them and "and" before the last."""
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:])


def arrivals(value: Value) -> list[tuple[float, float]]:
    """Where each input's arrow ends, on the left of the box: in the order of where it is from."""
    x, y = corner(value)
    order = sorted(range(len(value.arrows)), key=lambda i: value.arrows[i][-1].row)
    apart = min(14.0, BOX_HEIGHT / max(1, len(order)))
    above = (len(order) - 1) / 2
    return [(x, y + BOX_HEIGHT / 2 + apart * (order.index(i) - above)) for i in range(len(order))]


def draw_arrow(
    drawing: Drawing, arrow: list[Value | Passage], end: tuple[float, float], passes: bool
) -> None:
    """Straight from box to box, level through each passage; broad where a gradient comes back."""
    points = []
    for box in arrow:
        x, y = corner(box)
        if isinstance(box, Passage):
            points.append((x, y + BOX_HEIGHT / 2))
        points.append((x + BOX_WIDTH, y + BOX_HEIGHT / 2))
    points.append(end)
    if passes:
        for (x1, y1), (x2, y2) in pairwise(points):
            drawing.line(x1, y1, x2, y2, thickness=7, ink=ORANGE)
    for (x1, y1), (x2, y2) in pairwise(points[:-1]):
        drawing.line(x1, y1, x2, y2, thickness=1.5)
    drawing.arrow(*points[-2], *points[-1])


def draw_value(drawing: Drawing, value: Value, gradient: Array | None, active: bool) -> None:
    """A box with the op, the value and the gradient; orange for leaves, thick where active."""
    x, y = corner(value)
    leaf = value.tensor.requires_grad and not value.inputs
    fill = ORANGE if leaf else BLUE if value.tensor.requires_grad else GRAY
    drawing.box(x, y, BOX_WIDTH, BOX_HEIGHT, fill, round=6, opacity=0.5 if active else 0.18)
    middle = x + BOX_WIDTH / 2
    drawing.text(middle, y + 16, value.label, bold=True)
    drawing.text(middle, y + 33, short(value.tensor.data), size=11)
    words = "" if gradient is None else f"∂ {short(gradient)}"
    drawing.text(middle, y + 50, words, size=11, ink=GRADIENT)


def draw_badge(drawing: Drawing, value: Value, words: str) -> None:
    """A word or two on the upper right corner of a box."""
    x, y = corner(value)
    wide = 14 + 7.5 * len(words)
    drawing.box(x + BOX_WIDTH - wide + 8, y - 10, wide, 20, GREEN, round=10)
    drawing.text(x + BOX_WIDTH - wide / 2 + 8, y + 4.5, words, bold=True, ink="#FFFFFF")


def short(array: Array) -> str:
    """A number, or a shape and the size of what is in it."""
    if array.size == 1:
        return f"{array.item():.4g}".replace("-", "−")
    return f"{'×'.join(map(str, array.shape))}  |·| {np.linalg.norm(array):.3g}"

"""An array that knows the way back to what it was computed from.

An op computes its value with plain NumPy and calls `record` with that value and, for each input,
a vector-Jacobian product: a function that turns dL/d(value) into dL/d(input). `Tensor.backward`
follows these functions from a loss to the leaves, newest step first.

Source: reverse accumulation, Linnainmaa 1970; the interface follows PyTorch's and HIPS autograd's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import numpy as np

from minivlm.watch import watcher

Array = np.ndarray  # or cupy.ndarray: NumPy hands its calls on to the array's own library
Vjp = Callable[[Array], "Array | tuple[Array, ...]"]
Axis = int | tuple[int, ...] | None

_births = itertools.count()
_recording = ContextVar("recording", default=True)


class Tensor:
    """An array, its gradient, and the node that leads back to its inputs.

    Attributes:
        data: the values.
        requires_grad: True for parameters, and for whatever was computed from one.
        grad: dL/d(data), for leaves only. `backward` adds to it; set it to None to start anew.
        node: None for leaves and constants.
    """

    __array_ufunc__ = None  # array * tensor asks Tensor.__rmul__, rather than looping over elements

    def __init__(
        self,
        data: Array | float | Sequence,
        requires_grad: bool = False,
        node: Node | None = None,
    ):
        if isinstance(data, np.generic):  # a full reduction; first, for np.float64 is a float
            data = np.asarray(data)
        elif isinstance(data, float | int | Sequence):
            data = np.asarray(data, dtype=np.float32)
        if data.dtype.kind != "f":  # times 0.5, integers would silently be zeros
            raise TypeError(f"a Tensor holds floating-point numbers, not {data.dtype}")
        self.data: Array = data
        self.requires_grad = requires_grad
        self.grad: Array | None = None
        self.node = node

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype:
        """The type of the values, float32 unless one asks for another."""
        return self.data.dtype

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        """What a debugger's pane of variables shows: shape, type, origin, range, gradient."""
        shape = ", ".join(map(str, self.shape))
        words = [f"Tensor({shape}) {self.dtype}"]
        if self.node is not None:
            words.append(f"from {self.node.name}")
        elif self.requires_grad:
            words.append("leaf")
        if self.data.size:
            words.append(f"{self.data.min():.4g} … {self.data.max():.4g}")
        if self.grad is not None:
            words.append(f"|grad| {math.sqrt((self.grad * self.grad).sum()):.4g}")
        return " ".join(words)

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array on the host: the array itself where it is one already."""
        return self.data if isinstance(self.data, np.ndarray) else self.data.get()

    def item(self) -> float:
        """The value of a tensor with one element."""
        return self.data.item()

    def backward(self) -> None:
        """Add dL/dx to `x.grad` for every leaf x behind this scalar loss L; free the graph.

        Raises:
            ValueError: the loss is not a scalar, or depends on nothing that requires a gradient.
            RuntimeError: the graph was freed by an earlier call.
        """
        if self.data.size != 1:
            raise ValueError(f"backward() starts from a scalar, not from shape {self.shape}")
        if self.node is None:
            raise ValueError("nothing that this value was computed from requires a gradient")
        grads = {self.node: np.ones_like(self.data)}
        owned: set[Node] = set()  # whose entry in `grads` no one else holds, so += is safe

        someone = watcher()
        steps = tape(self.node)
        while steps:
            node = steps.pop()  # newest first: all of its gradient has arrived
            dy = grads.pop(node)
            edges, node.edges = node.edges or [], None  # frees what the vjps had saved
            if someone:
                someone.backward(node, dy, edges)
            for targets, shapes, vjp in edges:
                dxs = vjp(dy)
                dxs = dxs if isinstance(dxs, tuple) else (dxs,)
                for target, shape, dx in zip(targets, shapes, dxs, strict=True):
                    if target is None:
                        continue
                    dx = sum_to(dx, shape)
                    if isinstance(target, Tensor):
                        accumulate(target, dx)
                    elif target not in grads:
                        grads[target] = dx  # borrowed: add and reshape pass one array to several
                    elif target not in owned:
                        grads[target] = grads[target] + dx
                        owned.add(target)
                    else:
                        grads[target] += dx

    # Arithmetic. Broadcasting needs no care here: the tape sums each gradient back to its shape.

    def __add__(self, other: Tensor | Array | float) -> Tensor:
        """Element by element; shapes broadcast as NumPy's do."""
        other = as_tensor(other, like=self)
        return record(self.data + other.data, (self, lambda dy: dy), (other, lambda dy: dy))

    def __sub__(self, other: Tensor | Array | float) -> Tensor:
        other = as_tensor(other, like=self)
        return record(self.data - other.data, (self, lambda dy: dy), (other, lambda dy: -dy))

    def __mul__(self, other: Tensor | Array | float) -> Tensor:
        """Element by element; shapes broadcast as NumPy's do."""
        other = as_tensor(other, like=self)
        a, b = self.data, other.data
        return record(a * b, (self, lambda dy: dy * b), (other, lambda dy: dy * a))

    def __truediv__(self, other: Tensor | Array | float) -> Tensor:
        other = as_tensor(other, like=self)
        a, b = self.data, other.data
        return record(a / b, (self, lambda dy: dy / b), (other, lambda dy: -dy * a / (b * b)))

    def __pow__(self, exponent: float) -> Tensor:
        x, exponent = self.data, float(exponent)  # np.float64 would turn float32 into float64
        return record(x**exponent, (self, lambda dy: dy * exponent * x ** (exponent - 1)))

    def __neg__(self) -> Tensor:
        return record(-self.data, (self, lambda dy: -dy))

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Array | float) -> Tensor:
        return as_tensor(other, like=self) - self

    def __rtruediv__(self, other: Array | float) -> Tensor:
        return as_tensor(other, like=self) / self

    def __matmul__(self, other: Tensor | Array) -> Tensor:
        """Matrix products, (..., n, k) @ (..., k, m) -> (..., n, m); ValueError below two axes."""
        other = as_tensor(other, like=self)
        if self.ndim < 2 or other.ndim < 2:
            raise ValueError(f"@ takes matrices, not shapes {self.shape} and {other.shape}")
        a, b = self.data, other.data
        return record(a @ b, (self, lambda dy: dy @ b.mT), (other, lambda dy: a.mT @ dy))

    # Functions of each element. Where the value makes the gradient cheap, the vjp keeps the value.

    def exp(self) -> Tensor:
        """e to the power of each element."""
        y = np.exp(self.data)
        return record(y, (self, lambda dy: dy * y))

    def log(self) -> Tensor:
        """The natural logarithm of each element."""
        x = self.data
        return record(np.log(x), (self, lambda dy: dy / x))

    def sqrt(self) -> Tensor:
        """The square root of each element."""
        y = np.sqrt(self.data)
        return record(y, (self, lambda dy: dy / (2 * y)))

    # Reductions.

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum over `axis`, or of all elements."""
        shape, kept = self.shape, _kept_shape(self.shape, axis)  # the way back needs no values

        def dx(dy: Array) -> Array:
            return np.broadcast_to(dy.reshape(kept), shape)

        return record(self.data.sum(axis, keepdims=keepdims), (self, dx))

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The mean over `axis`, or of all elements."""
        shape, kept = self.shape, _kept_shape(self.shape, axis)
        count = math.prod(shape) // max(1, math.prod(kept))

        def dx(dy: Array) -> Array:
            return np.broadcast_to(dy.reshape(kept) / count, shape)

        return record(self.data.mean(axis, keepdims=keepdims), (self, dx))

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The largest element along `axis`, or of all; equal winners share the gradient."""
        x, kept = self.data, _kept_shape(self.shape, axis)
        y = x.max(axis, keepdims=keepdims)

        def dx(dy: Array) -> Array:
            won = (x == y.reshape(kept)).astype(x.dtype)
            return won * (dy.reshape(kept) / won.sum(axis, keepdims=True))

        return record(y, (self, dx))

    # Shape and selection. These move values and compute none, so their vjps save only shapes.

    def reshape(self, *shape: int) -> Tensor:
        """The same values in the same order, other axes; one length may be -1."""
        before = self.shape
        return record(self.data.reshape(shape), (self, lambda dy: dy.reshape(before)))

    def transpose(self, *axes: int) -> Tensor:
        """Axes in the order given, as `np.transpose`; all reversed when none is."""
        back = tuple(np.argsort([axis % self.ndim for axis in axes]).tolist())
        return record(self.data.transpose(*axes), (self, lambda dy: dy.transpose(*back)))

    @property
    def mT(self) -> Tensor:
        """The last two axes swapped."""
        return record(self.data.mT, (self, lambda dy: dy.mT))

    def __getitem__(self, index) -> Tensor:
        """A part, by NumPy's rules: integers, slices, None, `...`, arrays of ints or booleans."""
        shape, dtype = self.shape, self.dtype
        parts = index if isinstance(index, tuple) else (index,)
        by_lists = any(isinstance(part, list | tuple) or getattr(part, "ndim", 0) for part in parts)

        def dx(dy: Array) -> Array:
            whole = np.zeros(shape, dtype, like=dy)
            if by_lists:
                np.add.at(whole, index, dy)  # an element picked twice gets both gradients
            else:
                whole[index] = dy
            return whole

        return record(self.data[index], (self, dx))


class Edge(NamedTuple):
    """From a value to the inputs that share one vjp: mostly one, several in a fused op."""

    targets: tuple[Node | Tensor | None, ...]  # an input's node, a leaf itself, None if frozen
    shapes: tuple[tuple[int, ...], ...]
    vjp: Vjp


class Node:
    """A step of the way back: takes dL/d(value) and passes a share along each edge.

    Nodes refer to nodes and to leaf tensors, never to the arrays in between: of the forward
    pass, only what a vjp mentions stays in memory.
    """

    __slots__ = ("birth", "edges", "name")

    def __init__(self, edges: list[Edge]):
        self.edges: list[Edge] | None = edges  # None once backward has passed
        self.birth = next(_births)  # inputs are born before outputs: sorted, a topological order
        self.name = edges[0].vjp.__qualname__.split(".<locals>")[0]  # of the op that recorded it


def record(value: Array, *edges: tuple[Tensor | tuple[Tensor, ...], Vjp]) -> Tensor:
    """Wrap an op's value, remembering the edges into inputs that require a gradient.

    An edge is `(input, vjp)` or, where gradients share work, `(inputs, vjp)` with a vjp that
    returns one gradient per input. Edges into frozen inputs are dropped here, so a frozen
    layer neither computes its weight gradient nor keeps the activations it would need.
    """
    kept = []
    if _recording.get():
        for inputs, vjp in edges:
            inputs = inputs if isinstance(inputs, tuple) else (inputs,)
            if any(x.requires_grad for x in inputs):
                targets = tuple((x.node or x) if x.requires_grad else None for x in inputs)
                kept.append(Edge(targets, tuple(x.shape for x in inputs), vjp))
    y = Tensor(value, requires_grad=bool(kept), node=Node(kept) if kept else None)
    if someone := watcher():
        groups = (x if isinstance(x, tuple) else (x,) for x, _ in edges)
        someone.forward(y, tuple(itertools.chain.from_iterable(groups)))
    return y


def reachable(end: Node) -> Iterator[Node]:
    """`end` and every node behind it, each once. A loop, not a recursion: graphs get deep."""
    seen, stack = {end}, [end]
    while stack:
        node = stack.pop()
        if node.edges is None:
            raise RuntimeError("backward() was already called through here, and freed the graph")
        yield node
        for edge in node.edges:
            for target in edge.targets:
                if isinstance(target, Node) and target not in seen:
                    seen.add(target)
                    stack.append(target)


def tape(end: Node) -> list[Node]:
    """The same in the order of their births: a node stands after all that it came from."""
    return sorted(reachable(end), key=lambda node: node.birth)


def accumulate(leaf: Tensor, dx: Array) -> None:
    """Add dx to `leaf.grad`: a leaf may be used twice, and be in graphs of several losses.

    Args:
        leaf: a parameter; where its `grad` is None, nothing has arrived yet.
        dx: of the leaf's shape. It may be lent to other leaves, too: `grad` is an array of its own.
    """
    if leaf.grad is None:
        leaf.grad = np.empty_like(leaf.data)
        leaf.grad[...] = dx
    else:
        leaf.grad += dx


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside this block ops remember nothing: for evaluation and for pictures."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def as_tensor(x: Tensor | Array | float, like: Tensor) -> Tensor:
    """A number or array as a constant of the dtype, and on the device, of `like`."""
    if isinstance(x, Tensor):
        return x
    return Tensor(np.asarray(x, dtype=like.dtype, like=like.data))


def sum_to(grad: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: sum `grad` over the axes along which `shape` was repeated.

    Args:
        grad: dL/d(what was broadcast), with as many axes as `shape` or more.
        shape: of the input, before NumPy repeated it.

    Returns:
        dL/d(input), of that shape.
    """
    if grad.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(extra + i for i, n in enumerate(shape) if n == 1)
    return grad.sum(axis=axes, keepdims=True).reshape(shape)


def _kept_shape(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """`shape` after a reduction over `axis` that keeps its axes, at length 1."""
    if axis is None:
        return (1,) * len(shape)
    axes = {i % len(shape) for i in (axis if isinstance(axis, tuple) else (axis,))}
    return tuple(1 if i in axes else n for i, n in enumerate(shape))

"""What is computed for E04: batched products, and a linear layer's gradients as its vjps give."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.course.vjps import vjps
from minivlm.ops.linear import linear
from minivlm.tensor import Tensor


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Products with and without batch axes, some broadcast; layers with and without a bias."""
    for a, b, dtype in (
        ((2, 3), (3, 4), np.float64),
        ((5, 2, 3), (5, 3, 1), np.float64),
        ((2, 3, 3), (2, 3, 3), np.float64),
        ((4, 1, 2, 3), (5, 3, 2), np.float64),
        ((1, 4, 2), (3, 2, 5), np.float32),
    ):
        dy = rng.standard_normal((*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]))
        arrays = {"a": rng.standard_normal(a), "b": rng.standard_normal(b), "dy": dy}
        yield {name: array.astype(dtype) for name, array in arrays.items()}
    for b in ((3, 4), (2, 3, 1)):  # an array that is no tensor
        a = rng.standard_normal((2, 5, 3))
        dy = rng.standard_normal((2, 5, b[-1]))
        yield {"a": a, "b": rng.standard_normal(b), "dy": dy, "constant": True}
    for x, E, bias, dtype in (
        ((4, 3), 2, True, np.float64),
        ((2, 1, 5), 4, False, np.float64),
        ((3, 2, 4, 2), 3, True, np.float32),
        ((1, 3), 2, True, np.float64),
        ((2, 3, 4), 4, True, np.float64),  # square: a wrong product has a value, too
    ):
        arrays = {
            "x": rng.standard_normal(x),
            "weight": rng.standard_normal((E, x[-1])),
            "dy": rng.standard_normal((*x[:-1], E)),
        }
        if bias:
            arrays["bias"] = rng.standard_normal(E)
        yield {name: array.astype(dtype) for name, array in arrays.items()}
    lone, matrix = rng.standard_normal(3), rng.standard_normal((3, 2))
    yield {"a": lone, "b": matrix, "dy": lone, "raises": True}
    yield {"a": matrix.T, "b": lone, "dy": lone, "raises": True}
    yield {"x": matrix, "weight": rng.standard_normal((3, 4)), "dy": lone, "raises": True}


def run(case: Case) -> Outputs:
    """Value and gradients of `a @ b`, or of `linear`, and how many axes its vjps give."""
    names = [name for name in ("a", "b", "x", "weight", "bias") if name in case]
    inputs = [Tensor(case[name], requires_grad=True) for name in names]
    if "constant" in case:
        y, inputs = inputs[0] @ case["b"], inputs[:1]
    else:
        y = inputs[0] @ inputs[1] if "a" in case else linear(*inputs)
    out: Outputs = {"y": y.data}
    if "raises" in case:
        return out
    for name, gradient in zip(names, vjps(y, case["dy"], *inputs), strict=False):
        out[f"d_{name}"] = gradient
    if "x" in case:
        out["axes that each vjp gives"] = _sizes(y, case["dy"], inputs)
    return out


def _sizes(y: Tensor, dy: np.ndarray, inputs: list[Tensor]) -> np.ndarray:
    """How many axes each input's gradient has before the tape sums anything."""
    axes = {id(x): -1 for x in inputs}
    for targets, _, vjp in (y.node.edges or []) if y.node else []:
        gradients = vjp(dy)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        for target, dx in zip(targets, gradients, strict=True):
            axes[id(target)] = dx.ndim
    return np.array([axes[id(x)] for x in inputs])

"""What is computed for E02: sums and products that broadcast, and gradients that arrive twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.course.vjps import vjps
from minivlm.tensor import Tensor, accumulate, sum_to


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """One function after the other: shapes that broadcast in every way, float32, a number."""
    shapes = (
        ((2, 3), (2, 3), np.float64),
        ((4, 1, 3), (2, 1), np.float32),
        ((3,), (1, 4, 1), np.float64),
        ((), (2, 3), np.float64),
        ((1, 2, 5), (4, 2, 1), np.float64),
    )
    drawn = []
    for a, b, dtype in shapes:
        dy = rng.standard_normal(np.broadcast_shapes(a, b)).astype(dtype)
        left, right = (np.asarray(rng.standard_normal(shape), dtype) for shape in (a, b))
        drawn.append({"a": left, "b": right, "dy": dy})
    alone = [_with_number(rng, dtype) for dtype in (np.float32, np.float64)]
    for call in ("a + b", "a * b"):  # no sums are needed yet
        for case in (drawn[0], *alone):
            yield {"call": call, **case}
    for case in drawn:
        for letter in "ab":
            yield {"call": "sum_to(dy, shape)", "dy": case["dy"], "shape": case[letter].shape}
    for call in ("a + b", "a * b"):
        for case in drawn[1:]:
            yield {"call": call, **case}
    for case in drawn[:4]:
        yield {"call": "accumulate(leaf, dx), three times", "dx": case["a"]}


def run(case: Case) -> Outputs:
    """Values and gradients, what `sum_to` makes of dy, or a leaf that gets gradients."""
    if "shape" in case:
        return {"sum": sum_to(case["dy"], case["shape"])}
    if "dx" in case:
        return _arrivals(case["dx"])
    a, b, dy = case["a"], case["b"], case["dy"]
    x = Tensor(a, requires_grad=True)
    y = b if isinstance(b, float) else Tensor(b, requires_grad=True)
    plus = "+" in case["call"]
    z, twice, turned = (x + y, x + x, 2.5 + x) if plus else (x * y, x * x, 2.5 * x)
    out: Outputs = {case["call"]: z.data}
    inputs = (x, y) if isinstance(y, Tensor) else (x,)
    for letter, gradient in zip("ab", vjps(z, dy, *inputs), strict=False):
        out[f"d{letter}"] = gradient
    own = dy if dy.shape == a.shape else a
    out["da where b is a"] = vjps(twice, own, x)[0]
    out["with 2.5 on the left"] = turned.data
    return out


def _with_number(rng: np.random.Generator, dtype: type) -> Case:
    a, dy = rng.standard_normal((2, 2, 4)).astype(dtype)
    return {"a": a, "b": 2.5, "dy": dy}


def _arrivals(a: np.ndarray) -> Outputs:
    """A leaf's gradient after each of three, of which the first's owner changes it afterwards."""
    leaf = Tensor(a, requires_grad=True)
    out: Outputs = {}
    lent = [a * 3, np.broadcast_to(a.sum(), a.shape), np.copy(a)]
    lent = [np.asarray(dx) for dx in lent]
    for number, dx in enumerate(lent, 1):
        accumulate(leaf, dx)
        assert leaf.grad is not None
        out[f"grad after {number}"] = leaf.grad.copy()
    lent[0] += 1
    out |= {"grad after all": np.asarray(leaf.grad), "first dx, which was only lent": lent[0]}
    return out

"""What is computed for E02: sums and products that broadcast, and gradients that arrive twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.course.vjps import vjps
from minivlm.tensor import Tensor, accumulate, sum_to


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Shapes that broadcast in every way, float32, a number, a tensor with itself."""
    shapes = (
        ((2, 3), (2, 3)),
        ((4, 1, 3), (2, 1)),
        ((3,), (1, 4, 1)),
        ((), (2, 3)),
        ((1, 2, 5), (4, 2, 1)),
    )
    for number, (a, b) in enumerate(shapes):
        dtype = np.float32 if number == 1 else np.float64
        dy = rng.standard_normal(np.broadcast_shapes(a, b)).astype(dtype)
        yield {
            "a": np.asarray(rng.standard_normal(a), dtype),
            "b": np.asarray(rng.standard_normal(b), dtype),
            "dy": dy,
        }
    for dtype in (np.float32, np.float64):
        dy = rng.standard_normal((2, 4)).astype(dtype)
        yield {"a": rng.standard_normal((2, 4)).astype(dtype), "b": 2.5, "dy": dy}


def run(case: Case) -> Outputs:
    """Values, gradients, what `sum_to` makes of dy, and a leaf that gets gradients three times."""
    a, b, dy = case["a"], case["b"], case["dy"]
    out: Outputs = {}
    x = Tensor(a, requires_grad=True)
    y = b if isinstance(b, float) else Tensor(b, requires_grad=True)
    for name, z, twice in (("a + b", x + y, x + x), ("a * b", x * y, x * x)):
        out[name] = z.data
        inputs = (x, y) if isinstance(y, Tensor) else (x,)
        for letter, gradient in zip("ab", vjps(z, dy, *inputs), strict=False):
            out[f"d{letter} of {name}"] = gradient
        own = dy if dy.shape == a.shape else a
        out[f"da of {name.replace('b', 'a')}"] = vjps(twice, own, x)[0]
    out["2.5 * a"], out["2.5 + a"] = (2.5 * x).data, (2.5 + x).data
    out["sum_to(dy, a.shape)"] = sum_to(dy, a.shape)
    if not isinstance(b, float):
        out["sum_to(dy, b.shape)"] = sum_to(dy, b.shape)
    out |= _arrivals(a)
    return out


def _arrivals(a: np.ndarray) -> Outputs:
    """A leaf's gradient after each of three, each of which its owner changes afterwards."""
    leaf = Tensor(a, requires_grad=True)
    out: Outputs = {}
    lent = [a * 3, np.broadcast_to(a.sum(), a.shape), np.copy(a)]
    for number, dx in enumerate(lent, 1):
        accumulate(leaf, dx)
        assert leaf.grad is not None
        out[f"grad after {number}"] = leaf.grad.copy()
    lent[0] += 1
    out |= {"grad after all": np.asarray(leaf.grad), "first dx, which was only lent": lent[0]}
    return out

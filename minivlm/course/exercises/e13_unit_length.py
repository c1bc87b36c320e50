"""What is computed for E13: vectors of very different lengths, a zero one, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.course.vjps import vjps
from minivlm.ops.normalize import unit_length
from minivlm.tensor import Tensor


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Long and short vectors, one of zeros, a single vector, more axes, another eps."""
    for shape, dtype in (((3, 5), float), ((1, 4), np.float32), ((2, 1, 3), float), ((6,), float)):
        scale = 10.0 ** rng.uniform(-3, 3, (*shape[:-1], 1))
        x = (scale * rng.standard_normal(shape)).astype(dtype)
        yield {"x": x, "dy": rng.standard_normal(shape).astype(dtype), "eps": None}
    short = rng.standard_normal((4, 3))
    short[2] = 0
    short[3] *= 1e-3
    dy = rng.standard_normal((4, 3))
    dy[3] = 0  # below eps the length does not move with x: compare the value, not the gradient
    yield {"x": short, "dy": dy, "eps": 0.1}


def run(case: Case) -> Outputs:
    """Unit vectors and the gradient."""
    x = Tensor(case["x"], requires_grad=True)
    y = unit_length(x) if case["eps"] is None else unit_length(x, case["eps"])
    return {"y": y.data, "dx": vjps(y, case["dy"], x)[0]}

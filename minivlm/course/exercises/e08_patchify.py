"""What is computed for E08: pictures cut up, and gradients put together again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.course.vjps import vjps
from minivlm.ops.convolve import patches
from minivlm.tensor import Tensor


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Wide and tall pictures, one patch a picture, patches of one pixel, one channel, float32."""
    for B, C, rows, columns, side, dtype in (
        (2, 3, 2, 3, 2, np.float64),
        (1, 3, 3, 1, 4, np.float32),
        (3, 1, 1, 1, 3, np.float64),
        (1, 2, 2, 4, 1, np.float64),
        (2, 3, 4, 2, 3, np.float64),
    ):
        shape = (B, C, rows * side, columns * side)
        dy = rng.standard_normal((B, rows * columns, C * side * side))
        x = rng.standard_normal(shape).astype(dtype)
        yield {"x": x, "side": side, "dy": dy.astype(dtype)}
    for height, width in ((4, 5), (5, 4)):
        x = rng.standard_normal((1, 3, height, width))
        yield {"x": x, "side": 2, "raises": True}


def run(case: Case) -> Outputs:
    """The squares and the gradient."""
    x = Tensor(case["x"], requires_grad=True)
    y = patches(x, case["side"])
    if case.get("raises"):  # it has not
        return {"squares": y.data}
    return {"squares": y.data, "dx": vjps(y, case["dy"], x)[0]}

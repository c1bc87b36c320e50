"""What is computed for E05: softmax along every axis, of logits that overflow, and its gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.ops.normalize import softmax_arrays


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Three axes, one choice, one row, logits of a thousand, some of −∞, float32."""
    for shape, axis, size, dtype in (
        ((3, 5), -1, 2.0, np.float64),
        ((4, 2, 3), 1, 2.0, np.float64),
        ((1, 6), 1, 1.0, np.float32),
        ((5, 3), 0, 1000.0, np.float64),
        ((2, 1), -1, 1.0, np.float64),
    ):
        x = size * rng.standard_normal(shape)
        yield {"x": x.astype(dtype), "axis": axis, "dy": rng.standard_normal(shape).astype(dtype)}
    masked = rng.standard_normal((3, 4)) - np.array([[0], [2000], [5000]])
    masked[rng.random((3, 4)) < 0.4] = -np.inf
    masked[:, 1] = (0, -2000, -5000)
    yield {"x": masked, "axis": -1, "dy": rng.standard_normal((3, 4))}


def run(case: Case) -> Outputs:
    """Probabilities and the gradient."""
    y, backward = softmax_arrays(case["x"], case["axis"])
    return {"y": y.copy(), "dx": np.asarray(backward(case["dy"])), "y afterwards": y}

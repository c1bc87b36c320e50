"""What is computed for E07: feature vectors made even, and the three gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.ops.normalize import layer_norm_arrays


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """One vector, more axes, a large eps, vectors far from 0, one that is constant, float32."""
    for shape, eps, far, dtype in (
        ((3, 5), 1e-5, 0.0, np.float64),
        ((1, 4), 0.5, 1.0, np.float64),
        ((2, 1, 6), 0.1, 10.0, np.float64),
        ((4, 3), 1e-2, 2.0, np.float32),
        ((7,), 0.3, 1.0, np.float64),
        ((5, 4), 1e-5, 3e4, np.float64),  # where the digits of x² leave none for the variance
    ):
        x = far + rng.standard_normal(shape) * rng.uniform(0.2, 2, (*shape[:-1], 1))
        if len(shape) > 1 and shape[0] > 2:
            x[1] = 0.5  # all features alike
        arrays = {
            "x": x,
            "weight": rng.standard_normal(shape[-1]),
            "bias": rng.standard_normal(shape[-1]),
            "dy": rng.standard_normal(shape),
        }
        yield {name: array.astype(dtype) for name, array in arrays.items()} | {"eps": eps}


def run(case: Case) -> Outputs:
    """The vectors and the gradients of x, weight and bias."""
    x, weight, bias = case["x"], case["weight"], case["bias"]
    y, (dx, d_weight, d_bias) = layer_norm_arrays(x, weight, bias, case["eps"])
    gradients = {"dx": dx, "d_weight": d_weight, "d_bias": d_bias}
    return {"y": y} | {name: np.asarray(vjp(case["dy"])) for name, vjp in gradients.items()}

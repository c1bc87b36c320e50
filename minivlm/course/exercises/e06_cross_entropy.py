"""What is computed for E06: surprise with labels that do not count, smoothed and not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.ops.losses import IGNORE, cross_entropy_arrays


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """One text, labels one or none of which counts, smoothing, overflow, float32, many choices."""
    for shape, V, size, smoothing, dtype in (
        ((5,), 4, 2.0, 0.0, np.float64),
        ((2, 6), 3, 2.0, 0.1, np.float64),
        ((1, 4), 7, 1.0, 0.0, np.float32),
        ((3, 2, 3), 2, 1000.0, 0.25, np.float64),
        ((2, 3), 5, 1.0, 1.0, np.float64),
        ((4,), 103, 1.0, 0.0, np.float64),  # more choices than 100: −100 is an index
    ):
        labels = rng.integers(0, V, shape)
        labels[rng.random(shape) < 0.4] = IGNORE
        if size > 100:  # every position counts, and some have a right choice of probability 0
            labels = rng.integers(0, V, shape)
        else:
            labels.flat[:3] = (V - 1, IGNORE, 0)
        yield _case(rng, size * rng.standard_normal((*shape, V)), labels, smoothing, dtype)
    one = np.array([[IGNORE, 2, IGNORE]])
    yield _case(rng, rng.standard_normal((1, 3, 4)), one, 0.0, np.float64)
    no_choice = np.array([0, IGNORE])
    yield _case(rng, rng.standard_normal((2, 1)), no_choice, 0.0, np.float64)
    nothing = np.full((2, 3), IGNORE)
    yield _case(rng, rng.standard_normal((2, 3, 4)), nothing, 0.1, np.float64)


def run(case: Case) -> Outputs:
    """The mean surprise and the gradient."""
    nats, backward = cross_entropy_arrays(case["logits"], case["labels"], case["smoothing"])
    return {"nats": np.asarray(nats), "d_logits": np.asarray(backward(case["dy"]))}


def _case(
    rng: np.random.Generator, logits: np.ndarray, labels: np.ndarray, smoothing: float, dtype: type
) -> Case:
    return {
        "logits": logits.astype(dtype),
        "labels": labels,
        "smoothing": smoothing,
        "dy": np.array(rng.uniform(0.5, 2), dtype),
    }

"""What is computed for E01: slopes of curved functions by steps that are not small."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.gradcheck import slope
from minivlm.tensor import Tensor


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Steps so long that one-sided and central differences are far apart."""
    for shape, step in (((3, 5), 0.1), ((1, 4, 2), 0.03), ((), 0.5)):
        yield {
            "x": np.asarray(rng.standard_normal(shape)),
            "direction": np.asarray(rng.standard_normal(shape)),
            "weight": np.asarray(rng.standard_normal(shape)),
            "step": step,
        }


def run(case: Case) -> Outputs:
    """The slope of Σ weight·eˣ, what x is afterwards, and whether anything was recorded."""
    x = Tensor(case["x"], requires_grad=True)
    recorded = []

    def value() -> float:
        y = x.exp()
        recorded.append(y.requires_grad)
        return float((case["weight"] * y.data).sum())

    measured = slope(value, x, case["direction"], case["step"])
    return {
        "slope": np.asarray(measured),
        "x put back": x.data,
        "recorded": np.array(any(recorded)),
    }

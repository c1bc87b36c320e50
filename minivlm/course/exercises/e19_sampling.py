"""What is computed for E19: probabilities of logits with ties and extremes, and what is drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.models.generate import Sampling, choose, probabilities


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Cold and hot, the k and the nucleus, each alone and together; equal logits; one row."""
    for B, V, temperature, k, p in (
        (3, 7, 0.7, 0, 1.0),
        (1, 9, 2.5, 4, 1.0),
        (4, 8, 0.5, 0, rng.uniform(0.6, 0.9)),
        (30, 6, 1.7, 4, rng.uniform(0.6, 0.9)),
        (5, 6, 1.3, 6, rng.uniform(0.1, 0.3)),
        (2, 5, 0.8, 9, 1.0),
        (30, 6, 1.0, 1, 1.0),
        (3, 6, 0.0, 2, 0.5),
    ):
        logits = 2 * rng.standard_normal((B, V))
        if B > 3 or not temperature:
            logits = logits.round()  # tokens that are equally probable
        yield _case(rng, logits, temperature, k, p)
    far = 5000 * rng.standard_normal((3, 5))  # whose exponentials overflow
    far[0, 1] = -np.inf
    yield _case(rng, far, 2.0, 3, 0.9)
    yield _case(rng, rng.standard_normal((2, 6)).astype(np.float32), 0.3, 0, 1.0)


def _case(
    rng: np.random.Generator, logits: np.ndarray, temperature: float, k: int, p: float
) -> Case:
    return {
        "logits": logits,
        "temperature": temperature,
        "top_k": k,
        "top_p": round(float(p), 4),
        "seed": int(rng.integers(1000)),
    }


def run(case: Case) -> Outputs:
    """The probabilities, and tokens drawn with an rng of that seed."""
    logits = case["logits"]
    sampling = Sampling(case["temperature"], case["top_k"], case["top_p"])
    if not sampling.temperature:
        return {"chosen": choose(logits, sampling, None)}
    rng = np.random.default_rng(case["seed"])
    return {
        "probabilities": probabilities(logits, sampling),
        "chosen": choose(logits, sampling, rng),
    }

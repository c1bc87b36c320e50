"""What is computed for E15: losses of pairs, of several positives, at scales that overflow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.ops.contrastive import contrast


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """The diagonal, one pair, float32, a scale of 2000, several positives, N and M that differ."""
    for N, M, E, scale, dtype, told in (
        (4, 4, 3, 2.5, np.float64, False),
        (1, 1, 2, 5.0, np.float64, False),
        (5, 5, 2, 1.5, np.float32, False),
        (3, 3, 4, 2000.0, np.float64, False),
        (3, 5, 2, 3.0, np.float64, True),
        (4, 2, 3, 0.5, np.float64, True),
        (4, 4, 2, 2.0, np.float32, True),
    ):
        positives = None
        if told:
            positives = rng.random((N, M)) < 0.4
            positives[np.arange(N), np.arange(1, N + 1) % M] = True  # at least one in each row …
            positives[np.arange(M) % N, np.arange(1, M + 1) % M] = True  # … and column
        yield {
            "image": _unit(rng, (N, E)).astype(dtype),
            "text": _unit(rng, (M, E)).astype(dtype),
            "scale": np.array(scale, dtype),
            "positives": positives,
            "dy": np.array(rng.uniform(0.05, 0.2), dtype),
        }


def run(case: Case) -> Outputs:
    """The loss and its three gradients."""
    nats, backward = contrast(case["image"], case["text"], case["scale"], case["positives"])
    d_image, d_text, d_log_scale = backward(case["dy"])
    return {
        "nats": np.asarray(nats),
        "d_image": d_image,
        "d_text": d_text,
        "d_log_scale": np.asarray(d_log_scale),
    }


def _unit(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    x = rng.standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)

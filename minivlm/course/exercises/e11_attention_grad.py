"""What is computed for E11: attention's three gradients, for weights of masked softmaxes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.ops.attention import attention_backward


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """One head, shared keys, a single query, values of another width, rows that see nothing."""
    for B, H, G, T, S, C, V, dtype in (
        (1, 1, 1, 3, 5, 2, 2, np.float64),
        (2, 4, 2, 5, 3, 8, 8, np.float64),
        (3, 6, 2, 1, 4, 5, 5, np.float32),
        (1, 3, 1, 2, 6, 4, 3, np.float64),
    ):
        scores = np.exp(2 * rng.standard_normal((B, H, T, S)))
        scores *= rng.random((B, H, T, S)) < 0.7
        if T > 1:
            scores[0, 0, -1] = 0  # a query that may look nowhere
        P = scores / np.maximum(scores.sum(-1, keepdims=True), 1e-9)
        arrays = {
            "dy": rng.standard_normal((B, H, T, V)),
            "P": P,
            "Q": rng.standard_normal((B, H, T, C)),
            "K": rng.standard_normal((B, G, S, C)),
            "V": rng.standard_normal((B, G, S, V)),
        }
        yield {name: array.astype(dtype) for name, array in arrays.items()}


def run(case: Case) -> Outputs:
    """The gradients of queries, keys and values."""
    dQ, dK, dV = attention_backward(case["dy"], case["P"], case["Q"], case["K"], case["V"])
    return {"dQ": dQ, "dK": dK, "dV": dV}

"""What is computed for E10: weights for awkward shapes, with masks of every breadth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.ops.attention import attention_weights


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Shared keys, other lengths than queries, masks that broadcast or hide all, large scores."""
    for B, H, G, T, S, C in ((1, 1, 1, 3, 5, 2), (2, 4, 2, 5, 3, 8), (3, 2, 2, 1, 4, 5)):
        mask = rng.random((B, 1, T, S)) < 0.7
        mask[0, 0, -1] = False  # a query that may look nowhere
        for shown in (None, mask, rng.random(S) < 0.6):
            yield {
                "Q": rng.standard_normal((B, H, T, C)),
                "K": rng.standard_normal((B, G, S, C)),
                "mask": shown,
            }
    far = 300 * rng.standard_normal((2, 2, 3, 4))  # whose exponentials overflow
    yield {"Q": far.astype(np.float32), "K": far.astype(np.float32), "mask": None}
    yield {"Q": far, "K": far, "mask": ~np.eye(3, dtype=bool)}  # the largest ones are hidden
    Q, K = rng.standard_normal((2, 2, 2, 3, 4)).astype(np.float32)
    yield {"Q": Q, "K": K, "mask": np.tri(3, dtype=bool)}


def run(case: Case) -> Outputs:
    """The weights."""
    return {"weights": attention_weights(case["Q"], case["K"], case["mask"])}

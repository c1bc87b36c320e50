"""What is computed for E27: what is kept after each tile, for tiles that fit and that do not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.viz.tiles import online_softmax


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """A ragged last tile, tiles of one key, one tile for all; far scores; float32; no keys."""
    for T, S, C, E, tile, size in (
        (4, 6, 3, 3, 2, 2.0),
        (3, 7, 5, 2, 3, 2.0),
        (1, 5, 4, 3, 1, 1.0),
        (2, 3, 1, 4, 8, 1.0),
        (3, 1, 2, 3, 2, 1.0),
        (3, 5, 2, 6, 2, 60.0),  # whose exponentials overflow
    ):
        yield {
            "q": size * rng.standard_normal((T, C)),
            "k": size * rng.standard_normal((S, C)),
            "v": rng.standard_normal((S, E)),
            "tile": tile,
        }
    q, k, v = rng.standard_normal((3, 7, 4)).astype(np.float32)
    yield {"q": q[:3], "k": k, "v": v[:, :2], "tile": 4}
    yield {"q": q, "k": k[:0], "v": v[:0], "tile": 4, "raises": True}
    yield {"q": q, "k": k, "v": v, "tile": 0, "raises": True}


def run(case: Case) -> Outputs:
    """Each step's fields one under the other, and the mean and log-sum-exp of the last."""
    steps = online_softmax(case["q"], case["k"], case["v"], case["tile"])
    last = steps[-1]
    return {
        "first": np.array([step.first for step in steps]),
        "scores": np.concatenate([step.scores for step in steps], 1),
        "top": np.array([step.top for step in steps]),
        "shrink": np.array([step.shrink for step in steps]),
        "total": np.array([step.total for step in steps]),
        "row": np.array([step.row for step in steps]),
        "attention": last.mean,
        "lse": last.lse,
    }

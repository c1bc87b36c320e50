"""What is computed for E17: masks, square, wide and tall."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.ops.attention import causal_mask


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """As many queries as keys, fewer, one alone, and more."""
    few, more = sorted(rng.choice(np.arange(3, 9), 2, replace=False).tolist())
    for T, S in ((few, few), (few, more), (1, more), (1, 1), (more, few)):
        yield {"T": T, "S": S}


def run(case: Case) -> Outputs:
    """The mask."""
    return {"mask": causal_mask(case["T"], case["S"], like=np.empty(0))}

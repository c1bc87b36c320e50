"""What is computed for E23: a map over arrays that fill their last block, or do not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course import kernels
from minivlm.course.record import Case, Outputs
from minivlm_kernels.basics import b1_map


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """One block or several, more blocks than threads or fewer, one thread too many or none."""
    for shape, tile in (((7,), 4), ((2, 3, 2), 4), ((1,), 4), ((5,), 5), ((2, 5), 2), ((4,), 8)):
        x = 4 * rng.standard_normal(shape)
        yield {"x": x.astype(np.float32), "threads of a block": tile}


def run(case: Case) -> Outputs:
    """The map, in blocks of so many threads."""
    (y,) = kernels.run(b1_map.forward, case["x"], tile=case["threads of a block"]).results
    return {"y": y}

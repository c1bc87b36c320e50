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
    """The map, and whether its threads share the work."""
    threads = case["threads of a block"]
    ran = kernels.run(b1_map.forward, case["x"], tile=threads, events=True)
    return {"y": ran.results[0], "a thread writes one element": np.array(ran.most_written(1) == 1)}

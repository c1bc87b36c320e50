"""What is computed for E25: products of matrices that fill their squares, or do not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course import kernels
from minivlm.course.record import Case, Outputs
from minivlm_kernels.basics import b3_tiled_matmul

# M, K, N and the tile: full, ragged along one of the three, along all; one square along K, or more
SIZES = (
    (4, 4, 2, 2),
    (2, 2, 4, 2),
    (2, 3, 2, 2),
    (3, 4, 2, 2),
    (2, 4, 3, 2),
    (1, 5, 4, 3),
    (4, 2, 5, 3),
)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Two factors for each of the sizes."""
    for M, K, N, tile in SIZES:
        yield {
            "a": rng.standard_normal((M, K)).astype(np.float32),
            "b": rng.standard_normal((K, N)).astype(np.float32),
            "tile": tile,
        }


def run(case: Case) -> Outputs:
    """The product, and whether a block reads what it needs only once."""
    a, b, tile = case["a"], case["b"], case["tile"]
    ran = kernels.run(b3_tiled_matmul.forward, a, b, tile=tile)
    blocks_down, blocks_right = kernels.tiles(len(a), tile), kernels.tiles(b.shape[1], tile)
    once = ran.reads(0) <= blocks_right * a.size and ran.reads(1) <= blocks_down * b.size
    return {"out": ran.results[0], "a block reads each number once": np.array(once)}

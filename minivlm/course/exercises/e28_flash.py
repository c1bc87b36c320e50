"""What is computed for E28: attention over tiles of two or three, with masks of all kinds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course import kernels
from minivlm.course.record import Case, Outputs
from minivlm_kernels.attention import a3_flash

# B, H, G, T, S, C, the tile, causality
SIZES = (
    (1, 1, 1, 3, 5, 2, 2, False),
    (1, 2, 1, 4, 5, 3, 2, True),
    (1, 2, 2, 5, 3, 2, 2, True),  # the first two queries see no key
    (2, 4, 2, 2, 3, 1, 2, False),
    (1, 1, 1, 2, 2, 2, 2, False),
    (1, 1, 1, 4, 7, 2, 3, True),
)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Heads alone and in groups, one tile or several, scores far from 0 on either side."""
    for B, H, G, T, S, C, tile, causal in SIZES:
        mask = rng.random((T, S)) < 0.7
        mask[-1] = B == 1  # in a batch, one query sees no key
        yield _case(rng, (B, H, T, C), (B, G, S, C), mask if H == 4 else None, causal, tile)
    far = _case(rng, (1, 1, 2, 4), (1, 1, 3, 4), None, False, 2)
    q, k = (8 + np.round(8 * abs(far[name])) / 64 for name in ("q", "k"))  # exact in any order
    yield far | {"q": q, "k": -k}
    yield far | {"q": q, "k": k, "mask": rng.random(3) < 0.5}


def run(case: Case) -> Outputs:
    """Outputs and log-sum-exps, and whether blocks read no more than they need."""
    q, k, tile = case["q"], case["k"], case["tile"]
    arguments = q, k, case["v"], case["mask"], case["causal"]
    ran = kernels.run(a3_flash.forward, *arguments, tile=tile)
    few = max(ran.reads(1), ran.reads(2)) <= _reads(q.shape, k.shape, case["causal"], tile)
    o, lse = ran.results
    return {"o": o, "lse": lse, "a block reads each key once, and no hidden tile": np.array(few)}


def _case(
    rng: np.random.Generator,
    q: tuple[int, ...],
    k: tuple[int, ...],
    mask: np.ndarray | None,
    causal: bool,
    tile: int,
) -> Case:
    arrays = {"q": q, "k": k, "v": k}
    drawn = {name: rng.standard_normal(shape) for name, shape in arrays.items()}
    numbers = {name: array.astype(np.float32) for name, array in drawn.items()}
    return {**numbers, "mask": mask, "causal": causal, "tile": tile}


def _reads(q: tuple[int, ...], k: tuple[int, ...], causal: bool, tile: int) -> int:
    """Of k or v: whole tiles up to the last key that a block's last query may see."""
    (B, H, T, C), S = q, k[2]
    seen = [min(S, first + tile + S - T) if causal else S for first in range(0, T, tile)]
    rows = sum(min(S, tile * kernels.tiles(max(0, last), tile)) for last in seen)
    return B * H * rows * C

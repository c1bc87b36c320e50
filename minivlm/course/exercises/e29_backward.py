"""What is computed for E29: gradients of attention over tiles of two or three."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minivlm.course import kernels
from minivlm.course.record import Case, Outputs
from minivlm_kernels.attention import a4_flash_backward

# B, H, G, T, S, C, the tile, causality
SIZES = (
    (1, 1, 1, 3, 5, 2, 2, False),
    (1, 2, 1, 4, 5, 2, 2, True),
    (1, 2, 2, 5, 3, 2, 2, True),  # the first two queries see no key
    (2, 4, 2, 2, 3, 1, 2, False),
    (1, 1, 1, 2, 2, 2, 2, False),
    (1, 1, 1, 7, 4, 2, 3, True),
)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Heads alone and in groups, one tile or several; what the forward pass gave; a gradient."""
    for B, H, G, T, S, C, tile, causal in SIZES:
        mask = rng.random((T, S)) < 0.7
        mask[-1] = mask[:, 1] = False  # a query that sees no key, a key that no query sees
        q, do = rng.standard_normal((2, B, H, T, C))
        k, v = rng.standard_normal((2, B, G, S, C))
        o, lse = _forward(q, k, v, mask if H == 4 else None, causal)
        arrays = {"q": q, "k": k, "v": v, "o": o, "lse": lse, "do": do}
        numbers = {name: array.astype(np.float32) for name, array in arrays.items()}
        yield {**numbers, "mask": mask if H == 4 else None, "causal": causal, "tile": tile}


def run(case: Case) -> Outputs:
    """The three gradients, and whether blocks read no more than they need."""
    arguments = [case[name] for name in ("q", "k", "v", "o", "lse", "do", "mask", "causal")]
    q, k, tile = case["q"], case["k"], case["tile"]
    ran = kernels.run(a4_flash_backward.backward, *arguments, tile=tile)
    keys, queries = _reads(q.shape, k.shape, case["causal"], tile)
    few_keys = max(ran.reads(1), ran.reads(2)) <= keys
    few_queries = max(ran.reads(0, launch=1), ran.reads(5, launch=1)) <= queries
    dq, dk, dv = ran.results
    return {
        "dq": dq,
        "dk": dk,
        "dv": dv,
        "a block reads each key once, and no hidden tile": np.array(few_keys),
        "a block reads each query once, and no hidden tile": np.array(few_queries),
    }


def _forward(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None, causal: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Attention's outputs and log-sum-exps."""
    R, T, S = q.shape[1] // k.shape[1], q.shape[2], k.shape[2]
    look = np.tri(T, S, S - T if causal else S, dtype=bool) & (True if mask is None else mask)
    with np.errstate(all="ignore"):  # a query that sees no key: exp(−∞ − (−∞))
        scores = np.where(look, q @ np.repeat(k, R, 1).mT / math.sqrt(q.shape[-1]), -np.inf)
        lse = np.logaddexp.reduce(scores, axis=-1)
        weights = np.where(look, np.exp(scores - lse[..., None]), 0)
    return weights @ np.repeat(v, R, 1), lse


def _reads(q: tuple[int, ...], k: tuple[int, ...], causal: bool, tile: int) -> tuple[int, int]:
    """Of k or v for the queries' gradients, and of q or do for the keys'; whole tiles."""
    (B, H, T, C), S = q, k[2]
    reach = S - T if causal else S
    seen = [min(S, first + tile + reach) for first in range(0, T, tile)]
    keys = sum(min(S, tile * kernels.tiles(max(0, last), tile)) for last in seen)
    queries = sum(T - max(0, first - reach) // tile * tile for first in range(0, S, tile))
    return B * H * keys * C, B * H * queries * C

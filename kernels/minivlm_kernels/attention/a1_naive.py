"""Rung A1, naive: one thread a query, and nothing is shared.

Each thread computes one row of the output, and reads from global memory whatever that takes. It
walks over its keys twice: first for the largest score, without which exp would overflow, then for
the weights. It may forget each score at once, for it computes them all again.

Specification, in NumPy:

    scores = np.where(look, q @ k.mT / np.sqrt(C), -np.inf)
    top = np.maximum(scores.max(-1, keepdims=True), np.finfo(scores.dtype).min)
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    o = weights @ v / np.maximum(total, 1)
    lse = (top + np.log(total))[..., 0]

Costs: 6·B·H·T·S·C operations (the scores twice, the sums once; half of it where causal) and
2·B·H·T·S exponentials and comparisons. For each query and key, 2·C numbers of q, 2·C of k and C of
v are asked of memory: 20·B·H·T·S·C bytes. The 32 threads of a warp are at the same key at the same
time, so a number of k or v travels to all of them at once, and the caches hold the rows of q.
Beyond the results nothing is stored.

Measured:
    not yet on hardware.

Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
"""
# pyright: reportOperatorIssue=false, reportOptionalSubscript=false, reportArgumentType=false
# pyright: reportCallIssue=false

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numba import cuda, float32

from minivlm.tensor import Array
from minivlm_kernels import arrays
from minivlm_kernels.arrays import F32
from minivlm_kernels.checks import check_attention
from minivlm_kernels.launch import launch

RUNG = "A1 naive"
HEADS = range(1, 129)

# Below every score, but finite: no −∞ − (−∞), and with fastmath a compiler may take it that
# nothing is infinite.
LOWEST = np.finfo(np.float32).min
NOWHERE = np.float32(-np.inf)  # the log-sum-exp of a query that may look nowhere; only ever stored


@cache
def naive_forward(C: int) -> Callable:
    """One thread a query; blocks along x for batch and head, along y for the queries."""

    @cuda.jit(fastmath=True)
    def kernel(q, k, v, look, reach, scale, o, lse):
        H, T = q.shape[1], q.shape[2]
        G, S = k.shape[1], k.shape[2]
        b = cuda.blockIdx.x // H
        h = cuda.blockIdx.x % H
        g = h // (H // G)  # the key head that serves this query head
        i = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        if i >= T:
            return
        seen = min(S, i + reach + 1)  # causality shows this query so many keys

        # The first walk: the largest score
        top = LOWEST
        for j in range(seen):
            if look[b, h, i, j]:
                score = float32(0)
                for c in range(C):
                    score += q[b, h, i, c] * k[b, g, j, c]
                top = max(top, score * scale)

        # The second: the weights, their total, and what they pick of the values
        total = float32(0)
        row = cuda.local.array(C, float32)
        for c in range(C):
            row[c] = float32(0)
        for j in range(seen):
            if look[b, h, i, j]:
                score = float32(0)
                for c in range(C):
                    score += q[b, h, i, c] * k[b, g, j, c]
                weight = math.exp(score * scale - top)
                total += weight
                for c in range(C):
                    row[c] += weight * v[b, g, j, c]

        if total > float32(0):
            for c in range(C):
                o[b, h, i, c] = row[c] / total
            lse[b, h, i] = top + math.log(total)
        else:  # it may look nowhere
            for c in range(C):
                o[b, h, i, c] = float32(0)
            lse[b, h, i] = NOWHERE

    return kernel


def forward(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    causal: bool = False,
    *,
    scale: float | None = None,
    tile: int = 128,
) -> tuple[Array, Array]:
    """Scaled dot-product attention.

    Args:
        q: queries (B, H, T, C), float32, C up to 128.
        k: keys (B, G, S, C), where G divides H: each key head serves H/G query heads.
        v: values (B, G, S, C).
        mask: True where a query may look, broadcastable to (B, H, T, S); None means everywhere.
        causal: the last query is aligned with the last key, and none looks ahead of itself.
        scale: of the products of queries and keys; None means 1/√C.
        tile: queries of a block, a thread each.

    Returns:
        One weighted mean of values for each query, (B, H, T, C), zeros for a query that may look
        nowhere; and the logarithm of each query's Σ exp(score), (B, H, T), −∞ for such a query.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    B, H, _, T, S, C = check_attention(RUNG, F32, HEADS, q, k, v, mask)
    look = arrays.visible(mask, (B, H, T, S), q)
    reach = np.int32(arrays.reach(T, S, causal))
    factor = np.float32(1 / math.sqrt(C) if scale is None else scale)
    o = arrays.output(q.shape, F32, q)
    lse = arrays.output((B, H, T), F32, q)
    grid = (B * H, math.ceil(T / tile))
    launch(naive_forward(C), grid, (tile,), q, k, v, look, reach, factor, o, lse)
    return o, lse


def kernels(C: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for; it has no tile."""
    array4, array3, mask = "float32[:,:,:,::1]", "float32[:,:,::1]", "boolean[:,:,:,:]"
    inputs = f"{array4}, {array4}, {array4}, {mask}, int32, float32"
    return {"naive_forward": (naive_forward(C), f"void({inputs}, {array4}, {array3})")}

"""Rung A4, flash backward: the weights were forgotten, so they are made again.

One number a query is enough for that, its log-sum-exp: weight = exp(score − lse), for any pair, in
any order. A query's gradient sums over keys, a key's over queries. Two kernels walk over the pairs
in either direction: in the first a thread owns a query and tiles of k and v pass by, in the second
a thread owns a key and tiles of q and do pass by. Each number has one writer, so none is added to
atomically, and every run gives the same bits.

Specification, in NumPy:

    scores = q @ k.mT / np.sqrt(C)
    weights = np.exp(scores - lse[..., None], where=look, out=np.zeros_like(scores))
    delta = (do * o).sum(-1, keepdims=True)
    d_weights = do @ v.mT
    d_scores = weights * (d_weights - delta)
    dq = d_scores @ k / np.sqrt(C)
    dk = d_scores.mT @ q / np.sqrt(C)
    dv = weights.mT @ do

Costs: 14·B·H·T·S·C operations, 6 for dq and 8 for dk and dv, where five products would be 10 if
the scores and d_weights were made only once (where causal, half); 2·B·H·T·S exponentials.
Reading: 8·B·H·T·S·C/tile bytes for either walk. Stored are the results and 4·B·H·T bytes of delta.
A block has 8·tile·C bytes of shared memory. A thread holds 3·C numbers for dq and 4·C for dk and
dv, and has 255 registers: what does not fit spills to local memory, which is slow but right.

Measured:
    not yet on hardware.

Sources: Dao et al. 2022, arXiv:2205.14135, algorithm 4 (weights from the log-sum-exp) and appendix
B.2 (delta); Dao 2023, arXiv:2307.08691, algorithm 2. Unlike the papers, dq has a walk of its own
where theirs adds to it in global memory.
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
from minivlm_kernels.attention.a3_flash import HEADS, tile_for
from minivlm_kernels.checks import check_attention, check_forwards
from minivlm_kernels.launch import launch

RUNG = "A4 flash backward"


@cache
def query_gradients(C: int, tile: int) -> Callable:
    """dq and delta: one thread a query, as in A3."""

    @cuda.jit(fastmath=True)
    def kernel(q, k, v, o, lse, do, look, reach, scale, dq, delta):
        """A block has `tile` threads, and owns as many queries of one head: thread n the n-th.

        Blocks, tiles of keys and values, and what a query may see are those of
        `a3_flash.flash_forward`. For each key that its query sees, a thread makes the weight again,
        exp(score − lse), then d_weight = Σ do·v over the channels, and with them
        d_score = weight·(d_weight − delta). A query that sees no key gets zeros.

        Args:
            q: queries (B, H, T, C), float32.
            k: keys (B, G, S, C), float32; key head h // (H // G) serves query head h.
            v: values (B, G, S, C), float32.
            o: what the forward pass gave (B, H, T, C), float32.
            lse: its log Σ exp(score), −∞ for a query that sees no key (B, H, T), float32.
            do: the gradient of o (B, H, T, C), float32.
            look: True where a query may look (B, H, T, S).
            reach: query i sees key j only where j ≤ i + reach.
            scale: what products of queries and keys are multiplied by, float32.
            dq: the gradient of q (B, H, T, C), float32, to be written.
            delta: Σ do·o over the channels of each query (B, H, T), float32, to be written.
        """
        keys = cuda.shared.array((tile, C), float32)
        values = cuda.shared.array((tile, C), float32)
        H, T = q.shape[1], q.shape[2]
        G, S = k.shape[1], k.shape[2]
        b = cuda.blockIdx.x // H
        h = cuda.blockIdx.x % H
        g = h // (H // G)  # the key head that serves this query head
        thread = cuda.threadIdx.x
        first_query = cuda.blockIdx.y * tile
        i = first_query + thread  # this thread's query
        seen = min(S, i + reach + 1) if i < T else 0
        seen_by_block = min(S, first_query + tile + reach)  # by its last query

        query = cuda.local.array(C, float32)
        d_row = cuda.local.array(C, float32)  # do, of this query
        d_query = cuda.local.array(C, float32)
        row_lse = float32(0)
        row_delta = float32(0)  # Σ weight·d_weight over the keys, which is Σ do·o over channels
        for c in range(C):
            query[c] = q[b, h, i, c] if i < T else float32(0)
            d_row[c] = do[b, h, i, c] if i < T else float32(0)
            d_query[c] = float32(0)
        if i < T:
            row_lse = lse[b, h, i]
            for c in range(C):
                row_delta += d_row[c] * o[b, h, i, c]
            delta[b, h, i] = row_delta

        for first_key in range(0, seen_by_block, tile):
            for n in range(thread, tile * C, tile):
                r = n // C
                c = n % C
                if first_key + r < S:
                    keys[r, c] = k[b, g, first_key + r, c]
                    values[r, c] = v[b, g, first_key + r, c]
            cuda.syncthreads()  # the tile is there

            for j in range(first_key, min(first_key + tile, seen)):
                if look[b, h, i, j]:
                    r = j - first_key
                    score = float32(0)
                    d_weight = float32(0)  # o = Σ weight·v
                    for c in range(C):
                        score += query[c] * keys[r, c]
                        d_weight += d_row[c] * values[r, c]
                    weight = math.exp(score * scale - row_lse)
                    d_score = weight * (d_weight - row_delta)  # weights = softmax(scores)
                    for c in range(C):
                        d_query[c] += d_score * keys[r, c]  # score = scale·Σ q·k
            cuda.syncthreads()  # no one reads it any more

        if i < T:
            for c in range(C):
                dq[b, h, i, c] = d_query[c] * scale

    return kernel


@cache
def key_gradients(C: int, tile: int) -> Callable:
    """dk and dv: one thread a key, which meets the queries of all heads that its head serves."""

    @cuda.jit(fastmath=True)
    def kernel(q, k, v, lse, delta, do, look, reach, scale, dk, dv):
        """A block has `tile` threads, and owns as many keys of one head: thread n the n-th.

        Block (x, y) is there for key head x % G of batch element x // G, for the y-th tile of its
        keys. For each query head that the key head serves it walks over the queries, a tile of them
        at a time, beginning with the first query that sees the block's first key: the threads
        together fetch the tile's queries and their rows of `do` into shared memory, then each
        takes for its own key j every query i ≥ j − reach, if look[b, h, i, j]. For each of them it
        makes the weight and d_score again, and adds to Σ weight·do and Σ d_score·q. All threads
        of a block fetch the same tiles, for all must meet at each barrier. A key that no query sees
        gets zeros.

        Args:
            q: queries (B, H, T, C), float32.
            k: keys (B, G, S, C), float32; key head g serves query heads g·R to (g + 1)·R − 1,
                where R = H // G.
            v: values (B, G, S, C), float32.
            lse: log Σ exp(score) of each query (B, H, T), float32.
            delta: Σ do·o of each query (B, H, T), float32.
            do: the gradient of o (B, H, T, C), float32.
            look: True where a query may look (B, H, T, S).
            reach: query i sees key j only where j ≤ i + reach.
            scale: what products of queries and keys are multiplied by, float32.
            dk: the gradient of k (B, G, S, C), float32, to be written.
            dv: the gradient of v (B, G, S, C), float32, to be written.
        """
        queries = cuda.shared.array((tile, C), float32)
        d_rows = cuda.shared.array((tile, C), float32)
        H, T = q.shape[1], q.shape[2]
        G, S = k.shape[1], k.shape[2]
        R = H // G  # query heads a key head
        b = cuda.blockIdx.x // G
        g = cuda.blockIdx.x % G
        thread = cuda.threadIdx.x
        first_key = cuda.blockIdx.y * tile
        j = first_key + thread  # this thread's key
        seen_from = max(0, j - reach) if j < S else T
        block_seen_from = max(0, first_key - reach)  # the first query that sees its first key

        key = cuda.local.array(C, float32)
        value = cuda.local.array(C, float32)
        d_key = cuda.local.array(C, float32)
        d_value = cuda.local.array(C, float32)
        for c in range(C):
            key[c] = k[b, g, j, c] if j < S else float32(0)
            value[c] = v[b, g, j, c] if j < S else float32(0)
            d_key[c] = float32(0)
            d_value[c] = float32(0)

        for h in range(g * R, (g + 1) * R):
            for first_query in range(block_seen_from, T, tile):
                for n in range(thread, tile * C, tile):
                    r = n // C
                    c = n % C
                    if first_query + r < T:
                        queries[r, c] = q[b, h, first_query + r, c]
                        d_rows[r, c] = do[b, h, first_query + r, c]
                cuda.syncthreads()  # the tile is there

                for i in range(max(first_query, seen_from), min(first_query + tile, T)):
                    if look[b, h, i, j]:
                        r = i - first_query
                        score = float32(0)
                        d_weight = float32(0)
                        for c in range(C):
                            score += queries[r, c] * key[c]
                            d_weight += d_rows[r, c] * value[c]
                        weight = math.exp(score * scale - lse[b, h, i])
                        d_score = weight * (d_weight - delta[b, h, i])
                        for c in range(C):
                            d_key[c] += d_score * queries[r, c]
                            d_value[c] += weight * d_rows[r, c]
                cuda.syncthreads()  # no one reads it any more

        if j < S:
            for c in range(C):
                dk[b, g, j, c] = d_key[c] * scale
                dv[b, g, j, c] = d_value[c]

    return kernel


def backward(
    q: Array,
    k: Array,
    v: Array,
    o: Array,
    lse: Array,
    do: Array,
    mask: Array | None = None,
    causal: bool = False,
    *,
    scale: float | None = None,
    tile: int | None = None,
) -> tuple[Array, Array, Array]:
    """The gradients of scaled dot-product attention.

    Args:
        q: queries (B, H, T, C), float32, C up to 128.
        k: keys (B, G, S, C), where G divides H.
        v: values (B, G, S, C).
        o: what the forward pass gave for them, (B, H, T, C).
        lse: its log-sum-exps (B, H, T).
        do: the gradient of o.
        mask: as it was forward.
        causal: as it was forward.
        scale: as it was forward.
        tile: queries or keys of a block, a thread each; None means `tile_for(C)`.

    Returns:
        dq (B, H, T, C), dk and dv (B, G, S, C); zeros for a query that may look nowhere, and for a
        key that no query sees.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    B, H, G, T, S, C = check_attention(RUNG, F32, HEADS, q, k, v, mask)
    check_forwards(RUNG, F32, q, o, lse, do)
    look = arrays.visible(mask, (B, H, T, S), q)
    reach = np.int32(arrays.reach(T, S, causal))
    factor = np.float32(1 / math.sqrt(C) if scale is None else scale)
    tile = tile or tile_for(C)
    dq = arrays.output(q.shape, F32, q)
    dk = arrays.output(k.shape, F32, q)
    dv = arrays.output(k.shape, F32, q)
    delta = arrays.output((B, H, T), F32, q)
    grid = (B * H, math.ceil(T / tile))
    inputs = (q, k, v, o, lse, do, look, reach, factor)
    launch(query_gradients(C, tile), grid, (tile,), *inputs, dq, delta)
    grid = (B * G, math.ceil(S / tile))
    inputs = (q, k, v, lse, delta, do, look, reach, factor)  # delta is there: launches keep order
    launch(key_gradients(C, tile), grid, (tile,), *inputs, dk, dv)
    return dq, dk, dv


def kernels(C: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for."""
    array4, array3, mask = "float32[:,:,:,::1]", "float32[:,:,::1]", "boolean[:,:,:,:]"
    first = f"{array4}, {array4}, {array4}, {array4}, {array3}, {array4}, {mask}, int32, float32"
    second = f"{array4}, {array4}, {array4}, {array3}, {array3}, {array4}, {mask}, int32, float32"
    return {
        "query_gradients": (query_gradients(C, tile), f"void({first}, {array4}, {array3})"),
        "key_gradients": (key_gradients(C, tile), f"void({second}, {array4}, {array4})"),
    }

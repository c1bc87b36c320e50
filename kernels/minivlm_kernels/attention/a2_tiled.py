"""Rung A2, tiled: what many threads need is read once, into memory that they share.

A block of tile×tile threads owns a square of a product, a number each. Slice by slice it brings
the two strips that the square depends on into shared memory: each thread fetches one number of
either, all wait at a barrier, and each then uses 2·tile numbers. Global memory is read 1/tile as
often as in A1.

Attention becomes two such products with a softmax between, three kernels. What goes from one to
the next is the T×S matrix, through global memory: that is the wall that A3 takes down.

Specification, in NumPy:

    scores = np.where(look, q @ k.mT / np.sqrt(C), -np.inf)
    top = np.maximum(scores.max(-1, keepdims=True), np.finfo(scores.dtype).min)
    total = np.exp(scores - top).sum(-1, keepdims=True)
    lse = (top + np.log(total))[..., 0]
    weights = np.exp(scores - top) / np.maximum(total, 1)
    o = weights @ v

Costs: 4·B·H·T·S·C operations (where causal, half) and 2·B·H·T·S exponentials. The products read
4·(2·C/tile)·B·H·T·S bytes of q, k and v. The matrix takes 4·B·H·T·S bytes; it is written twice, by
the scores and by the softmax, and read three times by the softmax and C/tile times by the last
product: (5 + C/tile)·4·B·H·T·S bytes of traffic.

Measured:
    not yet on hardware.

Source: the CUDA C++ Programming Guide, "Shared Memory", a matrix product by tiles.
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
from minivlm_kernels.attention.a1_naive import LOWEST, NOWHERE
from minivlm_kernels.checks import check_attention
from minivlm_kernels.launch import launch

RUNG = "A2 tiled"
HEADS = range(1, 129)


@cache
def tiled_scores(tile: int) -> Callable:
    """q kᵀ·scale, LOWEST where the mask hides a key; blocks: (batch and head, queries, keys).

    What causality hides is left as it is, for the other two kernels read no further than `seen`.
    """
    padded = tile + 1  # so that the numbers of a column lie in different banks

    @cuda.jit(fastmath=True)
    def kernel(q, k, look, reach, scale, scores):
        queries = cuda.shared.array((tile, tile), float32)
        keys = cuda.shared.array((tile, padded), float32)
        H, T, C = q.shape[1], q.shape[2], q.shape[3]
        G, S = k.shape[1], k.shape[2]
        b = cuda.blockIdx.x // H
        h = cuda.blockIdx.x % H
        g = h // (H // G)
        y = cuda.threadIdx.y
        x = cuda.threadIdx.x
        first_query = cuda.blockIdx.y * tile
        first_key = cuda.blockIdx.z * tile
        i = first_query + y  # this thread's score
        j = first_key + x
        if first_key > first_query + tile - 1 + reach:
            return  # the square's last query comes before its first key

        score = float32(0)
        for start in range(0, C, tile):
            c = start + x  # along the memory, so that neighbours read neighbours
            queries[y, x] = q[b, h, i, c] if i < T and c < C else float32(0)
            keys[y, x] = k[b, g, first_key + y, c] if first_key + y < S and c < C else float32(0)
            cuda.syncthreads()  # both slices are there
            for n in range(tile):
                score += queries[y, n] * keys[x, n]
            cuda.syncthreads()  # no one reads them any more

        if i < T and j < S:
            scores[b, h, i, j] = score * scale if look[b, h, i, j] else LOWEST

    return kernel


@cache
def row_softmax(tile: int) -> Callable:
    """Scores become weights, in place; blocks: (batch and head, rows), tile threads a row."""

    @cuda.jit(fastmath=True)
    def kernel(scores, reach, lse):
        tops = cuda.shared.array((tile, tile), float32)
        totals = cuda.shared.array((tile, tile), float32)
        H, T, S = scores.shape[1], scores.shape[2], scores.shape[3]
        b = cuda.blockIdx.x // H
        h = cuda.blockIdx.x % H
        y = cuda.threadIdx.y
        x = cuda.threadIdx.x
        i = cuda.blockIdx.y * tile + y
        seen = min(S, i + reach + 1) if i < T else 0  # what lies beyond was never written

        # The row's largest score: each thread's own, and then the largest of theirs
        top = LOWEST
        for j in range(x, seen, tile):
            top = max(top, scores[b, h, i, j])
        tops[y, x] = top
        cuda.syncthreads()
        for n in range(tile):
            top = max(top, tops[y, n])

        # Its sum of exponentials, likewise
        total = float32(0)
        for j in range(x, seen, tile):
            total += math.exp(scores[b, h, i, j] - top)
        totals[y, x] = total
        cuda.syncthreads()
        total = float32(0)
        for n in range(tile):
            total += totals[y, n]

        # The weights; where the query may look nowhere, exp(LOWEST − LOWEST) = 1 is wrong
        sees = top > LOWEST
        for j in range(x, seen, tile):
            weight = math.exp(scores[b, h, i, j] - top) / total
            scores[b, h, i, j] = weight if sees else float32(0)
        if i < T and x == 0:
            lse[b, h, i] = top + math.log(total) if sees else NOWHERE

    return kernel


@cache
def tiled_mean(tile: int) -> Callable:
    """weights·v; blocks: (batch and head, queries, channels)."""

    @cuda.jit(fastmath=True)
    def kernel(weights, v, reach, o):
        some_weights = cuda.shared.array((tile, tile), float32)
        values = cuda.shared.array((tile, tile), float32)
        H, T, C = o.shape[1], o.shape[2], o.shape[3]
        G, S = v.shape[1], v.shape[2]
        b = cuda.blockIdx.x // H
        h = cuda.blockIdx.x % H
        g = h // (H // G)
        y = cuda.threadIdx.y
        x = cuda.threadIdx.x
        first_query = cuda.blockIdx.y * tile
        i = first_query + y  # this thread's number of o
        c = cuda.blockIdx.z * tile + x
        seen = min(S, i + reach + 1) if i < T else 0
        seen_by_block = min(S, first_query + tile + reach)  # by its last query

        mean = float32(0)
        for start in range(0, seen_by_block, tile):
            j = start + x
            some_weights[y, x] = weights[b, h, i, j] if j < seen else float32(0)
            values[y, x] = v[b, g, start + y, c] if start + y < S and c < C else float32(0)
            cuda.syncthreads()  # both slices are there
            for n in range(tile):
                mean += some_weights[y, n] * values[n, x]
            cuda.syncthreads()  # no one reads them any more

        if i < T and c < C:
            o[b, h, i, c] = mean

    return kernel


def forward(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    causal: bool = False,
    *,
    scale: float | None = None,
    tile: int = 16,
) -> tuple[Array, Array]:
    """Scaled dot-product attention, o and lse; `a1_naive.forward` describes them.

    Args:
        q: queries (B, H, T, C), float32, C up to 128.
        k: keys (B, G, S, C), where G divides H.
        v: values (B, G, S, C).
        mask: True where a query may look, broadcastable to (B, H, T, S).
        causal: no query looks ahead of itself.
        scale: of the products of queries and keys; None means 1/√C.
        tile: a block has tile×tile threads.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    B, H, _, T, S, C = check_attention(RUNG, F32, HEADS, q, k, v, mask)
    look = arrays.visible(mask, (B, H, T, S), q)
    reach = np.int32(arrays.reach(T, S, causal))
    factor = np.float32(1 / math.sqrt(C) if scale is None else scale)
    matrix = arrays.output((B, H, T, S), F32, q)
    o = arrays.output(q.shape, F32, q)
    lse = arrays.output((B, H, T), F32, q)
    queries, keys, channels = (math.ceil(size / tile) for size in (T, S, C))
    block = (tile, tile)
    launch(tiled_scores(tile), (B * H, queries, keys), block, q, k, look, reach, factor, matrix)
    launch(row_softmax(tile), (B * H, queries), block, matrix, reach, lse)
    launch(tiled_mean(tile), (B * H, queries, channels), block, matrix, v, reach, o)
    return o, lse


def kernels(C: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for; C does not matter here."""
    array4, array3, mask = "float32[:,:,:,::1]", "float32[:,:,::1]", "boolean[:,:,:,:]"
    return {
        "tiled_scores": (
            tiled_scores(tile),
            f"void({array4}, {array4}, {mask}, int32, float32, {array4})",
        ),
        "row_softmax": (row_softmax(tile), f"void({array4}, int32, {array3})"),
        "tiled_mean": (tiled_mean(tile), f"void({array4}, {array4}, int32, {array4})"),
    }

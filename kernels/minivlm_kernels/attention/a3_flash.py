"""Rung A3, flash forward: a softmax in one walk, and so no T×S matrix.

A thread owns a query again, as in A1, but tiles of keys and values pass by in shared memory, as in
A2. What is new is that the weights are summed before the largest score is known: the thread keeps
the largest *so far*, and when a larger one comes, it shrinks what it has summed by
exp(old − new). With that, a score can be used the moment it is computed, and forgotten.

Specification, in NumPy:

    B, H, T, _ = q.shape
    top = np.full((B, H, T, 1), np.finfo(q.dtype).min)
    total, row = np.zeros((B, H, T, 1)), np.zeros((B, H, T, C))
    for tile in np.array_split(np.arange(k.shape[2]), 3):
        scores = np.where(look[..., tile], q @ k[:, :, tile].mT / np.sqrt(C), -np.inf)
        new = np.maximum(top, scores.max(-1, keepdims=True, initial=-np.inf))
        weights = np.exp(scores - new)
        shrink = np.exp(top - new)
        total = total * shrink + weights.sum(-1, keepdims=True)
        row = row * shrink + weights @ v[:, :, tile]
        top = new
    o = row / np.maximum(total, 1)
    lse = (top + np.log(total))[..., 0]

Costs: 4·B·H·T·S·C operations (where causal, half) and B·H·T·S exponentials; a row is shrunk about
log S times, when a score is a new record. Each block reads the keys and values once:
8·B·H·T·S·C/tile bytes. Stored are o and 4·B·H·T bytes of lse. A block has 8·tile·C bytes of shared
memory, a thread 2·C numbers in registers. Every multiply-add reads a number of shared memory,
which gives a warp one a cycle: at best a quarter of what the arithmetic could do.

Measured:
    not yet on hardware.

Sources: Milakov and Gimelshein 2018, arXiv:1805.02867, algorithm 3 (the running maximum and sum);
Dao et al. 2022, arXiv:2205.14135, algorithm 1 (tiles of keys and values in shared memory), with
the loops in the order of Dao 2023, arXiv:2307.08691, algorithm 1. Unlike the paper, a thread takes
its scores one by one: a tile of them would not fit into its registers.
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

RUNG = "A3 flash"
HEADS = range(1, 129)


def tile_for(C: int) -> int:
    """Rows of a tile on a GPU: two tiles of float32 then take at most 32 of its 48 KB."""
    return 64 if C <= 64 else 32


@cache
def flash_forward(C: int, tile: int) -> Callable:
    """One thread a query; blocks along x for batch and head, along y for tiles of queries."""

    @cuda.jit(fastmath=True)
    def kernel(q, k, v, look, reach, scale, o, lse):
        """A block has `tile` threads, and owns as many queries of one head: thread n the n-th.

        Block (x, y) is there for head x % H of batch element x // H, for the y-th tile of its
        queries. It walks over the keys, a tile of them at a time: its threads together fetch the
        tile's keys and values into shared memory, then each takes for its own query i what that
        may see: every key j ≤ i + reach, if look[b, h, i, j]. A thread keeps its query, the
        largest score so far, Σ exp(score − largest) and, channel by channel,
        Σ exp(score − largest)·v. No block fetches a tile of which none of its queries may see a
        key; but all its threads fetch the same tiles, for all must meet at each barrier.

        Args:
            q: queries (B, H, T, C), float32.
            k: keys (B, G, S, C), float32; key head h // (H // G) serves query head h.
            v: values (B, G, S, C), float32.
            look: True where a query may look (B, H, T, S).
            reach: how far past its own position a query may look: S − T, or S to see all keys.
            scale: what products of queries and keys are multiplied by, float32.
            o: weighted means of values (B, H, T, C), float32, to be written; zeros for a query
                that sees no key.
            lse: log Σ exp(score) (B, H, T), float32, to be written; NOWHERE for such a query.
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
        row = cuda.local.array(C, float32)  # Σ exp(score − top)·v
        for c in range(C):
            query[c] = q[b, h, i, c] * scale if i < T else float32(0)
            row[c] = float32(0)
        top = LOWEST  # the largest score so far
        total = float32(0)  # Σ exp(score − top)

        for first_key in range(0, seen_by_block, tile):
            # The block fetches a tile, neighbours read neighbours
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
                    for c in range(C):
                        score += query[c] * keys[r, c]
                    if score > top:
                        shrink = math.exp(top - score)
                        top = score
                        total *= shrink
                        for c in range(C):
                            row[c] *= shrink
                    weight = math.exp(score - top)
                    total += weight
                    for c in range(C):
                        row[c] += weight * values[r, c]
            cuda.syncthreads()  # no one reads it any more

        if i < T:
            sees = total > float32(0)
            share = float32(1) / total if sees else float32(0)
            for c in range(C):
                o[b, h, i, c] = row[c] * share
            lse[b, h, i] = top + math.log(total) if sees else NOWHERE

    return kernel


def forward(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    causal: bool = False,
    *,
    scale: float | None = None,
    tile: int | None = None,
) -> tuple[Array, Array]:
    """Scaled dot-product attention, o and lse; `a1_naive.forward` describes them.

    Args:
        q: queries (B, H, T, C), float32, C up to 128.
        k: keys (B, G, S, C), where G divides H.
        v: values (B, G, S, C).
        mask: True where a query may look, broadcastable to (B, H, T, S).
        causal: no query looks ahead of itself.
        scale: of the products of queries and keys; None means 1/√C.
        tile: queries of a block, a thread each, and keys of a tile; None means `tile_for(C)`.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    B, H, _, T, S, C = check_attention(RUNG, F32, HEADS, q, k, v, mask)
    look = arrays.visible(mask, (B, H, T, S), q)
    reach = np.int32(arrays.reach(T, S, causal))
    factor = np.float32(1 / math.sqrt(C) if scale is None else scale)
    tile = tile or tile_for(C)
    o = arrays.output(q.shape, F32, q)
    lse = arrays.output((B, H, T), F32, q)
    grid = (B * H, math.ceil(T / tile))
    launch(flash_forward(C, tile), grid, (tile,), q, k, v, look, reach, factor, o, lse)
    return o, lse


def kernels(C: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for."""
    array4, array3, mask = "float32[:,:,:,::1]", "float32[:,:,::1]", "boolean[:,:,:,:]"
    inputs = f"{array4}, {array4}, {array4}, {mask}, int32, float32"
    return {"flash_forward": (flash_forward(C, tile), f"void({inputs}, {array4}, {array3})")}

"""Rung C2, streaming forward: log-sum-exps of rows and columns in one pass, without a matrix.

A sum of exponentials can be taken bit by bit if its maximum goes with it: two partials (max, sum)
merge into one, in any order. So a tile of logits is computed, used and forgotten.

- Along a row: thread (y, x) of a block meets every tile-th column of row y. It keeps its own
  (max, sum) in registers and leaves them at the row's end: tile partials a row.
- Along a column: a tile's column is reduced in shared memory and merged into the block's own
  (max, sum) of that column. Block p takes the bands of rows p, p + blocks, …, which keeps the
  partials few: `blocks` a column, not N / tile.

One small kernel merges the partials of rows and those of columns alike. SigLIP's loss needs only
a sum, for which no maximum has to run along.

Specification, in NumPy:

    N, blocks = len(image), min(2, len(image))
    row_lse, diagonal = np.empty(N), np.empty(N)
    col_max, col_sum = np.empty((blocks, N)), np.empty((blocks, N))
    for p in range(blocks):
        mine = np.arange(p, N, blocks)
        logits = scale * image[mine] @ text.T
        row_lse[mine] = np.logaddexp.reduce(logits, axis=1)
        diagonal[mine] = logits[range(len(mine)), mine]
        col_max[p] = logits.max(axis=0)
        col_sum[p] = np.exp(logits - col_max[p]).sum(axis=0)
    top = col_max.max(axis=0)
    col_lse = top + np.log((col_sum * np.exp(col_max - top)).sum(axis=0))
    nats = np.mean((row_lse + col_lse) / 2 - diagonal)

Costs: 2 N²E operations and 2 N² exponentials or a few more; 8 N (blocks + tile) bytes of partials
and 12 N of results, which by default is 4.4 KB a row, or less while there are fewer bands than
blocks. Tiles read 8 N²E / tile bytes of embeddings, mostly from the L2 cache.

Measured:
    not yet on hardware.

Sources: Milakov and Gimelshein 2018, arXiv:1805.02867 (the online softmax); column partials:
ours.
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
from minivlm_kernels.checks import check_beside, check_pairs
from minivlm_kernels.launch import launch

RUNG = "C2 streaming"
BLOCKS = 4 * 132  # four on each multiprocessor of an H100 or H200

# Where a running maximum begins: below every logit, but finite, for with fastmath a compiler may
# take it that nothing is infinite.
LOWEST = np.float32(-1e30)


@cache
def info_nce_kernel(tile: int) -> Callable:
    """Partials (max, sum) of exp(logits), along rows (tile, N) and along columns (blocks, N)."""
    padded = tile + 1  # so that a column of a square lies in different banks

    @cuda.jit(fastmath=True)
    def kernel(image, text, scale, row_max, row_sum, col_max, col_sum, diagonal):
        images = cuda.shared.array((tile, tile), float32)
        texts = cuda.shared.array((tile, padded), float32)
        logits = cuda.shared.array((tile, tile), float32)
        N, E = image.shape
        y = cuda.threadIdx.y
        x = cuda.threadIdx.x
        p = cuda.blockIdx.x

        for band in range(p * tile, N, cuda.gridDim.x * tile):
            i = band + y  # this thread's row, and until the next band
            top = LOWEST  # its partial (max, sum) of columns x, x + tile, …
            total = float32(0)
            for start in range(0, N, tile):
                j = start + x

                # The tile's cosines, slice by slice of the embeddings
                cosine = float32(0)
                for e in range(0, E, tile):
                    here = i < N and e + x < E
                    there = start + y < N and e + x < E
                    images[y, x] = image[i, e + x] if here else float32(0)
                    texts[y, x] = text[start + y, e + x] if there else float32(0)
                    cuda.syncthreads()  # both slices are there
                    for k in range(tile):
                        cosine += images[y, k] * texts[x, k]
                    cuda.syncthreads()  # no one reads them any more

                # The row, each thread for itself
                logit = LOWEST
                if i < N and j < N:
                    logit = scale[0] * cosine
                    if logit > top:
                        total = total * math.exp(top - logit) + float32(1)
                        top = logit
                    else:
                        total += math.exp(logit - top)
                    if i == j:
                        diagonal[i] = logit

                # The columns, a thread each of the first row of threads
                logits[y, x] = logit
                cuda.syncthreads()  # the tile is there; the slices' barriers guard it from the next
                if y == 0 and j < N:
                    highest = LOWEST
                    weight = float32(0)
                    if band > p * tile:
                        highest = col_max[p, j]
                        weight = col_sum[p, j]
                    before = highest
                    for r in range(tile):
                        highest = max(highest, logits[r, x])
                    weight *= math.exp(before - highest)
                    for r in range(tile):
                        weight += math.exp(logits[r, x] - highest)
                    col_max[p, j] = highest
                    col_sum[p, j] = weight

            if i < N:
                row_max[x, i] = top
                row_sum[x, i] = total

    return kernel


@cuda.jit(fastmath=True)
def merge(maxima, sums, lse):
    """P partials (max, sum) become one log-sum-exp, a thread each of N."""
    n = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    P, N = maxima.shape
    if n < N:
        top = LOWEST
        for p in range(P):
            top = max(top, maxima[p, n])
        total = float32(0)
        for p in range(P):
            total += sums[p, n] * math.exp(maxima[p, n] - top)
        lse[n] = top + math.log(total)


@cache
def sigmoid_kernel(tile: int) -> Callable:
    """The surprises −log σ(z) of row n, summed over every tile-th column: (N, tile)."""
    padded = tile + 1  # so that a column of a square lies in different banks

    @cuda.jit(fastmath=True)
    def kernel(image, text, scale, bias, surprises):
        images = cuda.shared.array((tile, tile), float32)
        texts = cuda.shared.array((tile, padded), float32)
        N, E = image.shape
        y = cuda.threadIdx.y
        x = cuda.threadIdx.x
        i = cuda.blockIdx.x * tile + y

        surprise = float32(0)
        for start in range(0, N, tile):
            j = start + x

            cosine = float32(0)
            for e in range(0, E, tile):
                here = i < N and e + x < E
                there = start + y < N and e + x < E
                images[y, x] = image[i, e + x] if here else float32(0)
                texts[y, x] = text[start + y, e + x] if there else float32(0)
                cuda.syncthreads()  # both slices are there
                for k in range(tile):
                    cosine += images[y, k] * texts[x, k]
                cuda.syncthreads()  # no one reads them any more

            if i < N and j < N:
                sign = float32(1) if i == j else float32(-1)
                z = sign * (scale[0] * cosine + bias[0])
                surprise += max(-z, float32(0)) + math.log1p(math.exp(-math.fabs(z)))

        if i < N:
            surprises[i, x] = surprise

    return kernel


def forward(
    image: Array, text: Array, scale: Array, *, tile: int = 16, blocks: int = BLOCKS
) -> tuple[Array, ...]:
    """Symmetric InfoNCE of N pairs.

    Args:
        image: embeddings of unit length (N, E), float32.
        text: embeddings of unit length (N, E), float32.
        scale: the inverse temperature (1,), float32, on the device.
        tile: a block has tile×tile threads.
        blocks: how many blocks, at most, share the bands of rows.

    Returns:
        The mean surprise a choice in nats, (), and the log-sum-exps of the logits along rows, (N,),
        and along columns, (N,).

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    N, _ = check_pairs(RUNG, F32, image, text)
    check_beside(RUNG, image, (1,), scale=scale)
    if blocks < 1:
        raise ValueError(f"{RUNG}: {blocks} blocks cannot share the rows")
    blocks = min(blocks, -(-N // tile))  # so that each has a band, and writes its partials
    row_max, row_sum = (arrays.output((tile, N), F32, image) for _ in range(2))
    col_max, col_sum = (arrays.output((blocks, N), F32, image) for _ in range(2))
    diagonal, row_lse, col_lse = (arrays.output((N,), F32, image) for _ in range(3))
    partials = row_max, row_sum, col_max, col_sum
    kernel = info_nce_kernel(tile)
    launch(kernel, (blocks,), (tile, tile), image, text, scale, *partials, diagonal)
    launch(merge, (-(-N // tile**2),), (tile**2,), row_max, row_sum, row_lse)
    launch(merge, (-(-N // tile**2),), (tile**2,), col_max, col_sum, col_lse)
    nats = ((row_lse - diagonal) + (col_lse - diagonal)).mean() / 2
    return nats, row_lse, col_lse


def sigmoid_forward(
    image: Array, text: Array, scale: Array, bias: Array, *, tile: int = 16
) -> Array:
    """SigLIP's loss of N×N pairs, in nats an image, ().

    Args:
        image: embeddings of unit length (N, E), float32.
        text: embeddings of unit length (N, E), float32.
        scale: the inverse temperature (1,), float32, on the device.
        bias: added to every logit (1,), float32, on the device.
        tile: a block has tile×tile threads.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    N, _ = check_pairs(RUNG, F32, image, text)
    check_beside(RUNG, image, (1,), scale=scale, bias=bias)
    surprises = arrays.output((N, tile), F32, image)
    kernel = sigmoid_kernel(tile)
    launch(kernel, (-(-N // tile),), (tile, tile), image, text, scale, bias, surprises)
    return surprises.sum() / N


def kernels(E: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for; E does not matter here."""
    matrix, vector = "float32[:,::1]", "float32[::1]"
    matrices = f"{matrix}, {matrix}"
    return {
        "info_nce": (
            info_nce_kernel(tile),
            f"void({matrices}, {vector}, {matrices}, {matrices}, {vector})",
        ),
        "merge": (merge, f"void({matrices}, {vector})"),
        "sigmoid": (sigmoid_kernel(tile), f"void({matrices}, {vector}, {vector}, {matrix})"),
    }

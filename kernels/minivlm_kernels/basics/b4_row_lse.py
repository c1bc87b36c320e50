"""Step B4, a row's log-sum-exp, tile by tile: the first sum that needs no matrix.

The contrastive loss asks of each picture how well it fits all texts: log Σ exp(scale·cosine) along
a row of the similarity matrix. B3 makes a square of that matrix; this kernel reduces the square at
once and forgets it. A sum of exponentials can be continued if its largest logit goes with it: when
a tile brings a larger one, what was summed so far shrinks by exp(old − new). C2 does this for
columns too, and A3 for attention.

Specification, in NumPy:

    tile = 2
    top, total = np.full(len(image), -1e30), np.zeros(len(image))
    for start in range(0, len(text), tile):
        logits = scale * image @ text[start : start + tile].T
        highest = np.maximum(top, logits.max(axis=1))
        total = total * np.exp(top - highest) + np.exp(logits - highest[:, None]).sum(axis=1)
        top = highest
    lse = top + np.log(total)

Costs: 2·N·M·E operations and N·M exponentials, which one thread in `tile` computes while the others
wait (C2 divides them). Tiles read 8·N·M·E/tile bytes; stored are the 4·N bytes of the result.
A block has 4·tile·(3·tile + 2) bytes of shared memory.

Measured:
    not yet on hardware.

Source: Milakov and Gimelshein 2018, arXiv:1805.02867, algorithm 3 (the running maximum and sum).
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
from minivlm_kernels.checks import check_beside, check_embeddings
from minivlm_kernels.launch import launch

RUNG = "B4 row log-sum-exp"

# Where a running maximum begins: below every logit, but finite, for with fastmath a compiler may
# take it that nothing is infinite.
LOWEST = np.float32(-1e30)


@cache
def row_lse(tile: int) -> Callable:
    """The kernel for squares of tile×tile logits: lse[i] = log Σ_j exp(scale·image[i]·text[j])."""
    padded = tile + 1  # columns of a square, one unused: numbers of a column lie in different banks

    @cuda.jit(fastmath=True)
    def kernel(image, text, scale, lse):
        """A block has tile×tile threads and owns tile images, the b-th tile of them for block b.

        It walks over the texts, a tile of them at a time. Thread (x, y) of the block computes the
        logit of the block's y-th image and the tile's x-th text, through shared memory as in
        `b3_tiled_matmul`: slices of tile channels of the images and of the texts, zeros where there
        are none. Then the logits lie in shared memory, LOWEST where there is no text, and the
        thread with x = 0 adds its row of them to a running maximum and a running sum. Threads of
        images that are not there compute along, for all must meet at each barrier.

        Args:
            image: embeddings (N, E), float32.
            text: embeddings (M, E), float32.
            scale: the inverse temperature, the one element of an array (1,), float32.
            lse: a log-sum-exp of each image (N,), float32, to be written.
        """
        images = cuda.shared.array((tile, tile), float32)
        texts = cuda.shared.array((tile, padded), float32)
        logits = cuda.shared.array((tile, padded), float32)
        N, E = image.shape
        M = text.shape[0]
        y = cuda.threadIdx.y
        x = cuda.threadIdx.x
        i = cuda.blockIdx.x * tile + y  # this thread's row

        top = LOWEST  # the largest logit so far
        total = float32(0)  # Σ exp(logit − top)
        for start in range(0, M, tile):
            # The tile's cosines, slice by slice of the embeddings
            cosine = float32(0)
            for e in range(0, E, tile):
                here = i < N and e + x < E
                there = start + y < M and e + x < E
                images[y, x] = image[i, e + x] if here else float32(0)
                texts[y, x] = text[start + y, e + x] if there else float32(0)
                cuda.syncthreads()  # both slices are there
                for k in range(tile):
                    cosine += images[y, k] * texts[x, k]
                cuda.syncthreads()  # no one reads them any more

            # The row, by its first thread
            logits[y, x] = scale[0] * cosine if start + x < M else LOWEST
            cuda.syncthreads()  # the tile is there; the slices' barriers guard it from the next
            if x == 0:
                highest = top
                for c in range(tile):
                    highest = max(highest, logits[y, c])
                total *= math.exp(top - highest)
                for c in range(tile):
                    total += math.exp(logits[y, c] - highest)
                top = highest

        if x == 0 and i < N:
            lse[i] = top + math.log(total)

    return kernel


def forward(image: Array, text: Array, scale: Array, *, tile: int = 16) -> Array:
    """How well each image fits all texts: log Σ exp(scale·image·text), (N,), in nats.

    Args:
        image: embeddings (N, E), float32.
        text: embeddings (M, E), float32.
        scale: the inverse temperature (1,), float32, on the device.
        tile: a block has tile×tile threads.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    N, _, _ = check_embeddings(RUNG, F32, image, text)
    check_beside(RUNG, image, (1,), scale=scale)
    lse = arrays.output((N,), F32, image)
    launch(row_lse(tile), (-(-N // tile),), (tile, tile), image, text, scale, lse)
    return lse


def kernels(n: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for; n does not matter here."""
    matrix, vector = "float32[:,::1]", "float32[::1]"
    return {"row_lse": (row_lse(tile), f"void({matrix}, {matrix}, {vector}, {vector})")}

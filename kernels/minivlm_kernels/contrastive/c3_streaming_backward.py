"""Rung C3, streaming backward: the gradients, from log-sum-exps, without a matrix.

A tile of logits is computed again; with the log-sum-exps of its rows and columns each logit turns
at once into its slope G = (p of the row + p of the column) / 2N − I / N, and the slopes are used
up on the spot: d_image += scale · G text. Two passes, images against texts and then texts against
images, so that each block owns the rows that it writes: no atomics, the same bits each time.

Specification, in NumPy:

    N = len(image)
    d_image, d_text, d_log_scale = np.empty_like(image), np.empty_like(text), 0
    for i in range(N):
        logits = scale * image[i] @ text.T
        slope = (np.exp(logits - row_lse[i]) + np.exp(logits - col_lse)) / 2 - np.eye(N)[i]
        d_image[i] = scale * (slope / N) @ text
        d_log_scale += np.sum(slope / N * logits)
    for j in range(N):
        logits = scale * text[j] @ image.T
        slope = (np.exp(logits - col_lse[j]) + np.exp(logits - row_lse)) / 2 - np.eye(N)[j]
        d_text[j] = scale * (slope / N) @ image

Costs: 8 N²E operations, twice the logits and twice a product, and 4 N² exponentials; beside the
gradients 4 N tile bytes of partial sums a pass, 8 for SigLIP's loss. A pass reads 8 N²E / tile
bytes of embeddings for the logits, and for the product 4 N²E, of which a block's rows share all
but 4 N²E / tile in the L1 cache.

Measured:
    not yet on hardware.

Sources: recomputation from log-sum-exps: Dao et al. 2022, arXiv:2205.14135, algorithm 4; for this
loss: Cheng et al. 2024, arXiv:2410.17243.
"""
# pyright: reportOperatorIssue=false, reportOptionalSubscript=false, reportArgumentType=false
# pyright: reportCallIssue=false

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from numba import cuda, float32

from minivlm.tensor import Array
from minivlm_kernels import arrays
from minivlm_kernels.arrays import F32
from minivlm_kernels.checks import check_beside, check_pairs
from minivlm_kernels.launch import launch

RUNG = "C3 streaming backward"


@cache
def info_nce_kernel(E: int, tile: int) -> Callable:
    """The gradient for one side, and Σ slope · logit of each row over every tile-th column."""
    padded = tile + 1  # so that a column of a square lies in different banks
    chunks = -(-E // tile)

    @cuda.jit(fastmath=True)
    def kernel(ours, theirs, scale, our_lse, their_lse, d_ours, d_log_scale):
        our_slice = cuda.shared.array((tile, tile), float32)
        their_slice = cuda.shared.array((tile, padded), float32)
        slopes = cuda.shared.array((tile, tile), float32)
        d = cuda.local.array(chunks, float32)  # this thread's columns x, x + tile, … of row i
        N = ours.shape[0]
        y = cuda.threadIdx.y
        x = cuda.threadIdx.x
        i = cuda.blockIdx.x * tile + y

        for c in range(chunks):
            d[c] = float32(0)
        along_scale = float32(0)
        for start in range(0, N, tile):
            j = start + x

            # The tile's cosines, slice by slice of the embeddings
            cosine = float32(0)
            for e in range(0, E, tile):
                here = i < N and e + x < E
                there = start + y < N and e + x < E
                our_slice[y, x] = ours[i, e + x] if here else float32(0)
                their_slice[y, x] = theirs[start + y, e + x] if there else float32(0)
                cuda.syncthreads()  # both slices are there
                for k in range(tile):
                    cosine += our_slice[y, k] * their_slice[x, k]
                cuda.syncthreads()  # no one reads them any more

            # The loss's slope along the pair's logit, 0 past the end
            slope = float32(0)
            if i < N and j < N:
                logit = scale[0] * cosine
                p = math.exp(logit - our_lse[i]) + math.exp(logit - their_lse[j])
                truth = float32(1) if i == j else float32(0)
                slope = (float32(0.5) * p - truth) / float32(N)
                along_scale += slope * logit
            slopes[y, x] = slope
            cuda.syncthreads()  # all slopes are there; the next are written two barriers later

            # d_ours += slopes · theirs; a tile's sum is in a register, a long d in slow memory
            for c in range(chunks):
                e = c * tile + x
                if e < E:
                    change = float32(0)
                    for r in range(tile):  # past the end a slope is 0, whichever row it meets
                        change += slopes[y, r] * theirs[min(start + r, N - 1), e]
                    d[c] += change

        if i < N:
            d_log_scale[i, x] = along_scale
            for c in range(chunks):
                e = c * tile + x
                if e < E:
                    d_ours[i, e] = scale[0] * d[c]

    return kernel


@cache
def sigmoid_kernel(E: int, tile: int) -> Callable:
    """The same for SigLIP's loss, with Σ slope as well, which is the gradient for the bias."""
    padded = tile + 1  # so that a column of a square lies in different banks
    chunks = -(-E // tile)

    @cuda.jit(fastmath=True)
    def kernel(ours, theirs, scale, bias, d_ours, d_log_scale, d_bias):
        our_slice = cuda.shared.array((tile, tile), float32)
        their_slice = cuda.shared.array((tile, padded), float32)
        slopes = cuda.shared.array((tile, tile), float32)
        d = cuda.local.array(chunks, float32)  # this thread's columns x, x + tile, … of row i
        N = ours.shape[0]
        y = cuda.threadIdx.y
        x = cuda.threadIdx.x
        i = cuda.blockIdx.x * tile + y

        for c in range(chunks):
            d[c] = float32(0)
        along_scale = float32(0)
        along_bias = float32(0)
        for start in range(0, N, tile):
            j = start + x

            # The tile's cosines, slice by slice of the embeddings
            cosine = float32(0)
            for e in range(0, E, tile):
                here = i < N and e + x < E
                there = start + y < N and e + x < E
                our_slice[y, x] = ours[i, e + x] if here else float32(0)
                their_slice[y, x] = theirs[start + y, e + x] if there else float32(0)
                cuda.syncthreads()  # both slices are there
                for k in range(tile):
                    cosine += our_slice[y, k] * their_slice[x, k]
                cuda.syncthreads()  # no one reads them any more

            # The loss's slope along the pair's logit, 0 past the end
            slope = float32(0)
            if i < N and j < N:
                logit = scale[0] * cosine
                sign = float32(1) if i == j else float32(-1)
                z = sign * (logit + bias[0])
                t = math.exp(-math.fabs(z))  # at most 1
                wrong = (t if z > float32(0) else float32(1)) / (float32(1) + t)  # σ(−z)
                slope = -sign * wrong / float32(N)
                along_scale += slope * logit
                along_bias += slope
            slopes[y, x] = slope
            cuda.syncthreads()  # all slopes are there; the next are written two barriers later

            # d_ours += slopes · theirs; a tile's sum is in a register, a long d in slow memory
            for c in range(chunks):
                e = c * tile + x
                if e < E:
                    change = float32(0)
                    for r in range(tile):  # past the end a slope is 0, whichever row it meets
                        change += slopes[y, r] * theirs[min(start + r, N - 1), e]
                    d[c] += change

        if i < N:
            d_log_scale[i, x] = along_scale
            d_bias[i, x] = along_bias
            for c in range(chunks):
                e = c * tile + x
                if e < E:
                    d_ours[i, e] = scale[0] * d[c]

    return kernel


def backward(
    image: Array, text: Array, scale: Array, row_lse: Array, col_lse: Array, *, tile: int = 16
) -> tuple[Array, ...]:
    """The gradients of `forward`'s nats for image (N, E), text (N, E) and log(scale) ().

    Args:
        image: embeddings (N, E), as they were given to `forward`.
        text: embeddings (N, E).
        scale: the inverse temperature (1,).
        row_lse: log-sum-exps along rows (N,), from `forward`.
        col_lse: log-sum-exps along columns (N,).
        tile: a block has tile×tile threads.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    N, _ = check_pairs(RUNG, F32, image, text)
    check_beside(RUNG, image, (1,), scale=scale)
    check_beside(RUNG, image, (N,), row_lse=row_lse, col_lse=col_lse)
    d_image, d_log_scale = _info_nce_side(image, text, scale, row_lse, col_lse, tile)
    d_text, _ = _info_nce_side(text, image, scale, col_lse, row_lse, tile)
    return d_image, d_text, d_log_scale


def sigmoid_backward(
    image: Array, text: Array, scale: Array, bias: Array, *, tile: int = 16
) -> tuple[Array, ...]:
    """The gradients of `sigmoid_forward` for image, text, log(scale) () and bias ().

    Args:
        image: embeddings of unit length (N, E), float32.
        text: embeddings of unit length (N, E), float32.
        scale: the inverse temperature (1,), float32, on the device.
        bias: added to every logit (1,), float32, on the device.
        tile: a block has tile×tile threads.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    check_pairs(RUNG, F32, image, text)
    check_beside(RUNG, image, (1,), scale=scale, bias=bias)
    d_image, d_log_scale, d_bias = _sigmoid_side(image, text, scale, bias, tile)
    d_text, _, _ = _sigmoid_side(text, image, scale, bias, tile)
    return d_image, d_text, d_log_scale, d_bias


def _info_nce_side(
    ours: Array, theirs: Array, scale: Array, our_lse: Array, their_lse: Array, tile: int
) -> tuple[Array, Array]:
    """The gradients for `ours` (N, E) and for log(scale) (), which is the same from both sides."""
    N, E = ours.shape
    d_ours = arrays.output((N, E), F32, ours)
    d_log_scale = arrays.output((N, tile), F32, ours)
    inputs = ours, theirs, scale, our_lse, their_lse
    kernel = info_nce_kernel(E, tile)
    launch(kernel, (-(-N // tile),), (tile, tile), *inputs, d_ours, d_log_scale)
    return d_ours, d_log_scale.sum()


def _sigmoid_side(
    ours: Array, theirs: Array, scale: Array, bias: Array, tile: int
) -> tuple[Array, Array, Array]:
    """The gradients for `ours` (N, E), and for log(scale) () and the bias (), from either side."""
    N, E = ours.shape
    d_ours = arrays.output((N, E), F32, ours)
    d_log_scale = arrays.output((N, tile), F32, ours)
    d_bias = arrays.output((N, tile), F32, ours)
    inputs = ours, theirs, scale, bias
    kernel = sigmoid_kernel(E, tile)
    launch(kernel, (-(-N // tile),), (tile, tile), *inputs, d_ours, d_log_scale, d_bias)
    return d_ours, d_log_scale.sum(), d_bias.sum()


def kernels(E: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for."""
    matrix, vector = "float32[:,::1]", "float32[::1]"
    matrices = f"{matrix}, {matrix}"
    return {
        "info_nce": (
            info_nce_kernel(E, tile),
            f"void({matrices}, {vector}, {vector}, {vector}, {matrices})",
        ),
        "sigmoid": (
            sigmoid_kernel(E, tile),
            f"void({matrices}, {vector}, {vector}, {matrices}, {matrix})",
        ),
    }

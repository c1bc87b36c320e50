"""Rung C3, streaming backward: the gradients, from log-sum-exps, without a matrix.

A tile of logits is computed again; with the log-sum-exps of its rows and columns each logit turns
at once into its slope G = (p of the row + p of the column) / 2N − I / N, and the slopes are used
up on the spot: d_image += scale · G text. Two passes, images against texts and then texts against
images, so that each block owns the rows that it writes: no atomics, the same bits each time.

The kernel knows no loss. It asks one function for the slope of a pair, and there are two: for
InfoNCE and for SigLIP.

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
gradients 16 N tile bytes of partial sums. Each band of rows reads the other side twice, 8 N²E / tile
bytes a pass, mostly from the L2 cache.

Measured:
    not yet on hardware.

Sources: recomputation from log-sum-exps: Dao et al. 2022, arXiv:2205.14135, algorithm 4; for this
loss: Cheng et al. 2024, arXiv:2410.17243.
"""
# pyright: reportCallIssue=false, reportArgumentType=false, reportIndexIssue=false

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from numba import cuda, float32

from minivlm.tensor import Array
from minivlm_kernels import arrays
from minivlm_kernels.arrays import F32
from minivlm_kernels.checks import check_pairs
from minivlm_kernels.contrastive.inputs import check_beside
from minivlm_kernels.launch import launch

RUNG = "C3 streaming backward"


@cuda.jit(device=True, fastmath=True)
def info_nce_slope(logit, i, j, our_lse, their_lse):
    """N times the derivative of symmetric InfoNCE for the logit of pair (i, j)."""
    p = math.exp(logit - our_lse[i]) + math.exp(logit - their_lse[j])
    truth = float32(1) if i == j else float32(0)
    return float32(0.5) * p - truth


@cuda.jit(device=True, fastmath=True)
def sigmoid_slope(logit, i, j, bias, _):
    """N times the derivative of SigLIP's loss for the logit of pair (i, j)."""
    sign = float32(1) if i == j else float32(-1)
    z = sign * (logit + bias[0])
    t = math.exp(-math.fabs(z))
    wrong = (t if z > float32(0) else float32(1)) / (float32(1) + t)  # σ(−z), cannot overflow
    return -sign * wrong


@cache
def backward_kernel(E: int, tile: int, slope_of: Callable) -> Callable:
    """The gradient for one side, and sums over its rows of slope · logit and of slope.

    Args:
        E: length of an embedding.
        tile: a block has tile×tile threads.
        slope_of: gives N times the derivative for a logit, from (logit, i, j, first, second).
    """
    chunks = -(-E // tile)

    @cuda.jit(fastmath=True)
    def kernel(ours, theirs, scale, first, second, d_ours, d_log_scale, d_bias):
        our_slice = cuda.shared.array((tile, tile), float32)
        their_slice = cuda.shared.array((tile, tile + 1), float32)  # + 1: many banks a column
        slopes = cuda.shared.array((tile, tile), float32)
        N = ours.shape[0]
        y = cuda.threadIdx.y
        x = cuda.threadIdx.x
        i = cuda.blockIdx.x * tile + y

        d = cuda.local.array(chunks, float32)  # of row i, columns x, x + tile, …
        for c in range(chunks):
            d[c] = float32(0)
        along_scale = float32(0)
        along_bias = float32(0)
        for start in range(0, N, tile):
            j = start + x

            # The tile's cosines, slice by slice of the embeddings
            cosine = float32(0)
            for e in range(0, E, tile):
                inside = e + x < E
                our_slice[y, x] = ours[i, e + x] if i < N and inside else float32(0)
                their_slice[y, x] = (
                    theirs[start + y, e + x] if start + y < N and inside else float32(0)
                )
                cuda.syncthreads()  # both slices are there
                for k in range(tile):
                    cosine += our_slice[y, k] * their_slice[x, k]
                cuda.syncthreads()  # no one reads them any more

            # Each pair's slope, which is 0 past the end
            slope = float32(0)
            if i < N and j < N:
                logit = scale[0] * cosine
                slope = slope_of(logit, i, j, first, second) / float32(N)
                along_scale += slope * logit
                along_bias += slope
            slopes[y, x] = slope
            cuda.syncthreads()  # the tile is there; the slices' barriers guard it from the next

            # d_ours += slopes · theirs
            for c in range(chunks):
                e = c * tile + x
                if e < E:
                    change = float32(0)
                    for r in range(tile):
                        change += slopes[y, r] * theirs[min(start + r, N - 1), e]
                    d[c] += change

        if i < N:
            for c in range(chunks):
                if c * tile + x < E:
                    d_ours[i, c * tile + x] = scale[0] * d[c]
            d_log_scale[i, x] = along_scale
            d_bias[i, x] = along_bias

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
    slope = info_nce_slope
    d_image, d_log_scale, _ = _one_side(slope, image, text, scale, row_lse, col_lse, tile)
    d_text, _, _ = _one_side(slope, text, image, scale, col_lse, row_lse, tile)
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
    slope = sigmoid_slope
    d_image, d_log_scale, d_bias = _one_side(slope, image, text, scale, bias, bias, tile)
    d_text, _, _ = _one_side(slope, text, image, scale, bias, bias, tile)
    return d_image, d_text, d_log_scale, d_bias


def _one_side(
    slope_of: Callable,
    ours: Array,
    theirs: Array,
    scale: Array,
    first: Array,
    second: Array,
    tile: int,
) -> tuple[Array, Array, Array]:
    """The gradients for `ours`, for log(scale) and for a bias; both sides agree on the last two."""
    N, E = ours.shape
    d_ours = arrays.output((N, E), F32, ours)
    d_log_scale, d_bias = (arrays.output((N, tile), F32, ours) for _ in range(2))
    kernel = backward_kernel(E, tile, slope_of)
    inputs = ours, theirs, scale, first, second
    launch(kernel, (-(-N // tile),), (tile, tile), *inputs, d_ours, d_log_scale, d_bias)
    return d_ours, d_log_scale.sum(), d_bias.sum()


def kernels(E: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for."""
    matrix, vector = "float32[:,::1]", "float32[::1]"
    inputs = f"{matrix}, {matrix}, {vector}, {vector}, {vector}"
    signature = f"void({inputs}, {matrix}, {matrix}, {matrix})"
    return {
        "info_nce": (backward_kernel(E, tile, info_nce_slope), signature),
        "sigmoid": (backward_kernel(E, tile, sigmoid_slope), signature),
    }

"""Rung C1, dense: the matrix of all pairs in memory, and each step of the paper a pass over it.

Every line of the specification becomes a kernel that reads N×N numbers and writes N×N numbers.
The forward pass keeps one such matrix, the logits. The backward pass holds four of float32 at
once: logits, softmax of the rows, softmax of the columns, gradient of the logits. That is 16 bytes
a pair of image and text, and it is the wall: 4 GiB at N = 16,384, and 64 GiB at four times that.
Fusing steps halves it, which buys 1.4 times the batch; C2 and C3 keep none of it.

Specification, in NumPy:

    N = len(image)
    logits = scale * image @ text.T
    row_lse = np.logaddexp.reduce(logits, axis=1)
    col_lse = np.logaddexp.reduce(logits, axis=0)
    nats = np.mean((row_lse + col_lse) / 2 - np.diag(logits))
    to_text = np.exp(logits - row_lse[:, None])
    to_image = np.exp(logits - col_lse)
    d_logits = ((to_text + to_image) / 2 - np.eye(N)) / N
    d_image = scale * d_logits @ text
    d_text = scale * d_logits.T @ image
    d_log_scale = np.sum(d_logits * logits)

SigLIP's loss, in NumPy:

    N = len(image)
    logits = scale * image @ text.T
    sign = 2 * np.eye(N) - 1
    z = sign * (logits + bias)
    nats = np.sum(np.logaddexp(0, -z)) / N
    d_logits = -sign / (1 + np.exp(z)) / N
    d_image = scale * d_logits @ text
    d_text = scale * d_logits.T @ image
    d_log_scale = np.sum(d_logits * logits)
    d_bias = np.sum(d_logits)

Costs: 2 N²E operations forward and 6 N²E backward (the logits again, and two products more);
4 N² bytes at the peak forward and 16 N² backward; SigLIP's loss 8 N² in both.

Measured:
    not yet on hardware.

Sources: Radford et al. 2021, arXiv:2103.00020, fig. 3; Zhai et al. 2023, arXiv:2303.15343.
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

RUNG = "C1 dense"

# Where a running maximum begins: below every logit, but finite, for with fastmath a compiler may
# take it that nothing is infinite.
LOWEST = np.float32(-1e30)


@cache
def product_kernel(tile: int) -> Callable:
    """out = scale · a b, of any strides; block (x, y) makes the square of tile×tile there."""

    @cuda.jit(fastmath=True)
    def product(a, b, scale, out):
        left = cuda.shared.array((tile, tile), float32)
        right = cuda.shared.array((tile, tile), float32)
        M, K = a.shape
        N = b.shape[1]
        y = cuda.threadIdx.y
        x = cuda.threadIdx.x
        i = cuda.blockIdx.y * tile + y
        j = cuda.blockIdx.x * tile + x

        total = float32(0)
        for k in range(0, K, tile):
            left[y, x] = a[i, k + x] if i < M and k + x < K else float32(0)
            right[y, x] = b[k + y, j] if k + y < K and j < N else float32(0)
            cuda.syncthreads()  # both squares are there
            for r in range(tile):
                total += left[y, r] * right[r, x]
            cuda.syncthreads()  # no one reads them any more
        if i < M and j < N:
            out[i, j] = scale[0] * total

    return product


@cuda.jit(fastmath=True)
def log_sum_exp_of_rows(logits, lse):
    """Two walks along each row, a thread a row: the maximum, then the sum of what is below it."""
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    N, M = logits.shape
    if i < N:
        top = LOWEST
        for j in range(M):
            top = max(top, logits[i, j])
        total = float32(0)
        for j in range(M):
            total += math.exp(logits[i, j] - top)
        lse[i] = top + math.log(total)


@cuda.jit(fastmath=True)
def softmax_of_rows(logits, lse, p):
    """The probability of each choice along a row, a thread a pair."""
    i = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    j = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    N, M = logits.shape
    if i < N and j < M:
        p[i, j] = math.exp(logits[i, j] - lse[i])


@cuda.jit(fastmath=True)
def info_nce_slope(to_text, to_image, d_logits):
    """What the two directions think of a pair, less what is true, a thread a pair."""
    i = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    j = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    N = d_logits.shape[0]
    if i < N and j < N:
        truth = float32(1) if i == j else float32(0)
        d_logits[i, j] = ((to_text[i, j] + to_image[i, j]) / float32(2) - truth) / float32(N)


@cuda.jit(fastmath=True)
def sigmoid_surprise(logits, bias, surprise):
    """−log σ(z) of the right answer, yes on the diagonal and no elsewhere, a thread a pair."""
    i = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    j = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    N = logits.shape[0]
    if i < N and j < N:
        sign = float32(1) if i == j else float32(-1)
        z = sign * (logits[i, j] + bias[0])
        surprise[i, j] = max(-z, float32(0)) + math.log1p(math.exp(-math.fabs(z)))


@cuda.jit(fastmath=True)
def sigmoid_slope(logits, bias, d_logits):
    """The chance given to the wrong answer, signed as the loss rises, a thread a pair."""
    i = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    j = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    N = logits.shape[0]
    if i < N and j < N:
        sign = float32(1) if i == j else float32(-1)
        z = sign * (logits[i, j] + bias[0])
        t = math.exp(-math.fabs(z))
        wrong = (t if z > float32(0) else float32(1)) / (
            float32(1) + t
        )  # σ(−z), which cannot overflow
        d_logits[i, j] = -sign * wrong / float32(N)


def forward(image: Array, text: Array, scale: Array, *, tile: int = 16) -> tuple[Array, ...]:
    """Symmetric InfoNCE of N pairs.

    Args:
        image: embeddings of unit length (N, E), float32.
        text: embeddings of unit length (N, E), float32.
        scale: the inverse temperature (1,), float32, on the device.
        tile: a block has tile×tile threads.

    Returns:
        The mean surprise a choice in nats, (), and the log-sum-exps of the logits along rows, (N,),
        and along columns, (N,).

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    N, _ = check_pairs(RUNG, F32, image, text)
    check_beside(RUNG, image, (1,), scale=scale)
    logits = _product(image, text.T, scale, tile)  # (N, N)
    row_lse = arrays.output((N,), F32, image)
    col_lse = arrays.output((N,), F32, image)
    grid, block = (-(-N // tile**2),), (tile**2,)
    launch(log_sum_exp_of_rows, grid, block, logits, row_lse)
    launch(log_sum_exp_of_rows, grid, block, logits.T, col_lse)
    diagonal = np.diagonal(logits)  # (N,)
    nats = ((row_lse - diagonal) + (col_lse - diagonal)).mean() / 2
    return nats, row_lse, col_lse


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
    logits = _product(image, text.T, scale, tile)  # (N, N)
    to_text = arrays.output((N, N), F32, image)
    to_image = arrays.output((N, N), F32, image)
    d_logits = arrays.output((N, N), F32, image)
    grid, block = _grid(N, N, tile), (tile, tile)
    launch(softmax_of_rows, grid, block, logits, row_lse, to_text)
    launch(softmax_of_rows, grid, block, logits.T, col_lse, to_image.T)
    launch(info_nce_slope, grid, block, to_text, to_image, d_logits)
    return _through_the_logits(d_logits, logits, image, text, scale, tile)


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
    logits = _product(image, text.T, scale, tile)  # (N, N)
    surprise = arrays.output((N, N), F32, image)
    launch(sigmoid_surprise, _grid(N, N, tile), (tile, tile), logits, bias, surprise)
    return surprise.sum() / N


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
    N, _ = check_pairs(RUNG, F32, image, text)
    check_beside(RUNG, image, (1,), scale=scale, bias=bias)
    logits = _product(image, text.T, scale, tile)  # (N, N)
    d_logits = arrays.output((N, N), F32, image)
    launch(sigmoid_slope, _grid(N, N, tile), (tile, tile), logits, bias, d_logits)
    d_bias = d_logits.sum()
    return *_through_the_logits(d_logits, logits, image, text, scale, tile), d_bias


def _through_the_logits(
    d_logits: Array, logits: Array, image: Array, text: Array, scale: Array, tile: int
) -> tuple[Array, Array, Array]:
    """d_image, d_text and d_log_scale; overwrites the logits."""
    d_image = _product(d_logits, text, scale, tile)  # (N, E)
    d_text = _product(d_logits.T, image, scale, tile)
    logits *= d_logits
    return d_image, d_text, logits.sum()


def _product(a: Array, b: Array, scale: Array, tile: int) -> Array:
    """Scale · a b; a transposed view is as good as an array, for a block reads whole squares."""
    M, N = a.shape[0], b.shape[1]
    out = arrays.output((M, N), F32, a)
    launch(product_kernel(tile), _grid(M, N, tile), (tile, tile), a, b, scale, out)
    return out


def _grid(M: int, N: int, tile: int) -> tuple[int, int]:
    """Blocks along x and y, for a thread on every element of an (M, N) matrix."""
    return -(-N // tile), -(-M // tile)


def kernels(E: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for; E does not matter here."""
    matrix, vector = "float32[:,:]", "float32[::1]"
    return {
        "product": (product_kernel(tile), f"void({matrix}, {matrix}, {vector}, {matrix})"),
        "log_sum_exp_of_rows": (log_sum_exp_of_rows, f"void({matrix}, {vector})"),
        "softmax_of_rows": (softmax_of_rows, f"void({matrix}, {vector}, {matrix})"),
        "info_nce_slope": (info_nce_slope, f"void({matrix}, {matrix}, {matrix})"),
        "sigmoid_surprise": (sigmoid_surprise, f"void({matrix}, {vector}, {matrix})"),
        "sigmoid_slope": (sigmoid_slope, f"void({matrix}, {vector}, {matrix})"),
    }

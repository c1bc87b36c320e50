"""Step B3, a tiled matrix product: what a block needs is read once, into memory that it shares.

A block of tile×tile threads owns a square of the product. All of its rows come from the same strip
of a, all of its columns from the same strip of b. So the block walks along the strips, a square of
each at a time: every thread fetches one number of either square into shared memory, then uses a row
of the one and a column of the other.

That takes two barriers a step. Before the first, some of a square is not there yet; after the
second, it may be overwritten. Without the first a thread reads what nobody has written, without the
second, what a faster thread has brought for the next step.

Specification, in NumPy:

    tile = 2
    out = np.zeros((len(a), b.shape[1]))
    for k in range(0, len(b), tile):
        out += a[:, k : k + tile] @ b[k : k + tile]

Costs: 2·M·N·K operations, as B2, and 8·M·N·K/tile bytes of global memory. Where sizes are no
multiples of the tile, zeros fill the last squares, which change no sum. A block has 8·tile² bytes
of shared memory.

Measured:
    not yet on hardware.

Source: the CUDA C++ Programming Guide, "Shared Memory", a matrix product by tiles.
"""
# pyright: reportOperatorIssue=false, reportOptionalSubscript=false, reportArgumentType=false
# pyright: reportCallIssue=false

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from numba import cuda, float32

from minivlm.tensor import Array
from minivlm_kernels import arrays
from minivlm_kernels.arrays import F32
from minivlm_kernels.checks import check_product
from minivlm_kernels.launch import launch

RUNG = "B3 tiled matrix product"


@cache
def tiled_product(tile: int) -> Callable:
    """The kernel for squares of tile×tile: out = a b."""

    @cuda.jit(fastmath=True)
    def kernel(a, b, out):
        """A block has tile×tile threads; block (x, y) writes the square that is x-th to the right.

        It is the y-th down, and thread (x, y) of the block writes the element in its row y and its
        column x, if out has one there. For each square of a and of b that the block needs, a thread
        fetches one number of each into shared memory, or a zero where the matrix has ended.

        Args:
            a: the left factor (M, K), float32.
            b: the right factor (K, N), float32.
            out: their product (M, N), float32, to be written.
        """
        left = cuda.shared.array((tile, tile), float32)  # of a
        right = cuda.shared.array((tile, tile), float32)  # of b
        M, K = a.shape
        N = b.shape[1]
        y = cuda.threadIdx.y
        x = cuda.threadIdx.x
        i = cuda.blockIdx.y * tile + y  # this thread's element
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
            out[i, j] = total

    return kernel


def forward(a: Array, b: Array, *, tile: int = 16) -> Array:
    """The product of two matrices, (M, N).

    Args:
        a: the left factor (M, K), float32.
        b: the right factor (K, N), float32.
        tile: a block has tile×tile threads.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    M, _, N = check_product(RUNG, F32, a, b)
    out = arrays.output((M, N), F32, a)
    launch(tiled_product(tile), (-(-N // tile), -(-M // tile)), (tile, tile), a, b, out)
    return out


def kernels(n: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for; n does not matter here."""
    matrix = "float32[:,::1]"
    return {"tiled_product": (tiled_product(tile), f"void({matrix}, {matrix}, {matrix})")}

"""Step B2, a matrix product: one thread an element, in two dimensions.

Blocks and threads may be counted along x and y. Which of them counts rows is for the kernel to say,
and matters for its speed: threads that are neighbours along x run side by side and should read and
write neighbours in memory. A row of a matrix lies in one piece, so x counts columns, and y rows.

Specification, in NumPy:

    out = a @ b

Costs: 2·M·N·K operations. Each thread reads a whole row of a and a whole column of b: 8·M·N·K
bytes in all, of matrices that have 4·(M·K + K·N). Each number is read N or M times, and that is
what B3 mends.

Measured:
    not yet on hardware.

Source: the CUDA C++ Programming Guide, "Thread Hierarchy" and "Device Memory Accesses".
"""
# pyright: reportOperatorIssue=false, reportOptionalSubscript=false, reportArgumentType=false
# pyright: reportCallIssue=false

from __future__ import annotations

from collections.abc import Callable

from numba import cuda, float32

from minivlm.tensor import Array
from minivlm_kernels import arrays
from minivlm_kernels.arrays import F32
from minivlm_kernels.checks import check_product
from minivlm_kernels.launch import launch

RUNG = "B2 matrix product"


@cuda.jit(fastmath=True)
def product(a, b, out):
    """A product of matrices, out = a b; a thread writes one element of out.

    Blocks lie along x and y, and so do the threads of a block: y counts the rows of out, and x its
    columns. Blocks cover all of out, and at its right and its lower edge as a rule a bit more.

    Args:
        a: the left factor (M, K), float32.
        b: the right factor (K, N), float32.
        out: their product (M, N), float32, to be written.
    """
    i = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    j = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    M, N = out.shape
    if i < M and j < N:
        total = float32(0)
        for k in range(a.shape[1]):
            total += a[i, k] * b[k, j]
        out[i, j] = total


def forward(a: Array, b: Array, *, tile: int = 32, rows: int = 8) -> Array:
    """The product of two matrices, (M, N).

    Args:
        a: the left factor (M, K), float32.
        b: the right factor (K, N), float32.
        tile: threads of a block along x.
        rows: threads of a block along y.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    M, _, N = check_product(RUNG, F32, a, b)
    out = arrays.output((M, N), F32, a)
    launch(product, (-(-N // tile), -(-M // rows)), (tile, rows), a, b, out)
    return out


def kernels(n: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for; sizes do not matter here."""
    matrix = "float32[:,::1]"
    return {"product": (product, f"void({matrix}, {matrix}, {matrix})")}

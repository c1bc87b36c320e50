"""Step B1, a map: one thread an element.

A kernel is written for one thread, and launched for many: blocks of threads, each of which asks
where it stands and takes the element that is there. Blocks are all of one size, so the last one
may have threads that find nothing, and these must do nothing: past an array's end lies memory of
someone else. The map here is the activation of CLIP's MLPs.

Specification, in NumPy:

    y = x / (1 + np.exp(-1.702 * x))

Costs: 8 bytes an element, 4 read and 4 written, and a handful of operations: as fast as memory is.
Neighbouring threads read neighbouring numbers, which memory delivers together.

Measured:
    not yet on hardware.

Sources: the CUDA C++ Programming Guide, "Thread Hierarchy"; Hendrycks and Gimpel 2016,
arXiv:1606.08415 (x σ(1.702 x)).
"""
# pyright: reportOperatorIssue=false, reportOptionalSubscript=false, reportArgumentType=false
# pyright: reportCallIssue=false

from __future__ import annotations

import math
from collections.abc import Callable

from numba import cuda, float32

from minivlm.tensor import Array
from minivlm_kernels import arrays
from minivlm_kernels.arrays import F32
from minivlm_kernels.checks import check_arrays
from minivlm_kernels.launch import launch

RUNG = "B1 map"


@cuda.jit(fastmath=True)
def quick_gelu(x, y):
    """y = x·σ(1.702·x), where σ(z) = 1 / (1 + exp(−z)); a thread writes one element of y.

    Blocks lie in a row, along x, and so do the threads of a block. In all there are at least as
    many threads as elements, and as a rule a few more.

    Args:
        x: numbers (n,), float32.
        y: what becomes of them (n,), float32, to be written.
    """
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i < x.shape[0]:
        z = float32(1.702) * x[i]
        t = math.exp(-math.fabs(z))  # at most 1, so that it cannot overflow
        y[i] = x[i] * (float32(1) if z > float32(0) else t) / (float32(1) + t)


def forward(x: Array, *, tile: int = 256) -> Array:
    """x·σ(1.702·x), the approximation of GELU that OpenAI's CLIP was trained with.

    Args:
        x: numbers of any shape, float32.
        tile: threads of a block, an element each.

    Raises:
        ValueError: the array's dtype or strides are not what the rung takes.
    """
    check_arrays(RUNG, F32, x=x)
    y = arrays.output(x.shape, F32, x)
    if x.size:
        launch(quick_gelu, (math.ceil(x.size / tile),), (tile,), x.reshape(-1), y.reshape(-1))
    return y


def kernels(n: int, tile: int) -> dict[str, tuple[Callable, str]]:
    """Each kernel of this file with the signature it is compiled for; sizes do not matter here."""
    return {"quick_gelu": (quick_gelu, "void(float32[::1], float32[::1])")}

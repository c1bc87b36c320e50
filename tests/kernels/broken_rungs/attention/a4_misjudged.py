"""Compiles as it says, and computes in float64 all the same: Python's numbers are launched so."""

from numba import cuda

from minivlm_kernels.arrays import F32
from minivlm_kernels.checks import check_arrays
from minivlm_kernels.launch import launch


@cuda.jit(fastmath=True)
def kernel(x, scale):
    x[0, 0, 0, cuda.threadIdx.x] *= scale


def forward(q, k, v, *, scale=0.5, tile=32):
    check_arrays("A4 misjudged", F32, q=q)
    launch(kernel, (1,), (tile,), q, scale)


def kernels(C, tile):
    return {"kernel": (kernel, "void(float32[:,:,:,::1], float32)")}

"""Sums in float64 on a GPU, in float32 in the simulator: line 10 should say float32(0)."""

from numba import cuda


@cuda.jit(fastmath=True)
def kernel(x):
    if cuda.threadIdx.x > 0:
        return
    total = 0.0
    for i in range(x.size):
        total += x[i]
    x[0] = total


def forward(array, *, tile=32):
    raise NotImplementedError


def kernels(C, tile):
    return {"total": (kernel, "void(float32[::1])")}

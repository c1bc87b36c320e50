"""Asks for more shared memory than a block may have, which the simulator grants."""

from functools import cache

from numba import cuda, float32


@cache
def turned_round(C, tile):
    @cuda.jit(fastmath=True)
    def kernel(x):
        rows = cuda.shared.array((tile, C), float32)
        thread = cuda.threadIdx.x
        for c in range(C):
            rows[thread, c] = x[thread, c]
        cuda.syncthreads()
        for c in range(C):
            x[thread, c] = rows[tile - 1 - thread, c]

    return kernel


def tile_for(C):
    return 128


def backward(array, *, tile=None):
    raise NotImplementedError


def kernels(C, tile):
    return {"turned_round": (turned_round(C, tile), "void(float32[:,::1])")}

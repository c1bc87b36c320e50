"""Products of bfloat16 matrices summed in float32: cuBLAS on a GPU, NumPy on the CPU."""
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minivlm.errors import InputError
from minivlm.tensor import Array
from minivlm_kernels.arrays import BF16, F32

AS_IT_IS, TRANSPOSED = 0, 1  # CUBLAS_OP_N and CUBLAS_OP_T


def multiply(
    a: Array, b: Array, out: Array, *, transposed: bool = False, add: bool = False
) -> None:
    """Out = a b, or out += a b; a column of `a`, then, where it is `transposed`: out = aᵀ b.

    Args:
        a: (M, K), or (K, M) where it is transposed; bfloat16.
        b: (K, N), bfloat16.
        out: (M, N), float32. All three lie in memory row by row, at any distance.
        transposed: multiply by aᵀ.
        add: add to what `out` holds; otherwise that is not read.
    """
    assert (a.dtype, b.dtype, out.dtype) == (BF16, BF16, F32)
    if isinstance(out, np.ndarray):
        left = a.T if transposed else a
        product = left.astype(F32) @ b.astype(F32)
        out[...] = out + product if add else product
    else:
        _by_cublas(a, b, out, transposed, add)


class Call(NamedTuple):
    """How BLAS is asked for it.

    BLAS goes down columns. To it, what lies row by row is the transpose, so out = a b becomes
    outᵀ = bᵀ aᵀ: `b` is its first factor, and neither has to be turned.
    """

    op_b: int
    op_a: int
    columns: int
    rows: int
    inner: int
    step_b: int
    step_a: int
    step_out: int


def blas_call(a: Array, b: Array, out: Array, transposed: bool) -> Call:
    """The sizes and steps of the product, as BLAS counts them.

    Raises:
        ValueError: the shapes do not fit.
    """
    left = a.shape[::-1] if transposed else a.shape
    (M, K), (inner, N) = left, b.shape
    if inner != K or out.shape != (M, N):
        raise ValueError(f"a {left} times b {b.shape} is not out {out.shape}")
    op_a = TRANSPOSED if transposed else AS_IT_IS
    return Call(AS_IT_IS, op_a, N, M, K, _step(b), _step(a), _step(out))


def _step(matrix: Array) -> int:
    """From one row to the next, in numbers."""
    assert matrix.strides[1] == matrix.itemsize
    return matrix.strides[0] // matrix.itemsize


def _by_cublas(a: Array, b: Array, out: Array, transposed: bool, add: bool) -> None:
    try:
        from cupy.cuda import cublas, runtime
        from cupy.cuda.device import get_cublas_handle
    except ImportError as error:
        raise InputError(
            f"products of bfloat16 matrices need cuBLAS ({error}); python -m "
            f"minivlm_kernels.doctor says what is missing"
        ) from None
    call = blas_call(a, b, out, transposed)
    one, beta = np.ones(1, F32), np.full(1, add, F32)  # on the host, where cuBLAS reads them
    cublas.gemmEx(
        get_cublas_handle(),
        *call[:5],
        one.ctypes.data,
        *(b.data.ptr, runtime.CUDA_R_16BF, call.step_b),
        *(a.data.ptr, runtime.CUDA_R_16BF, call.step_a),
        beta.ctypes.data,
        *(out.data.ptr, runtime.CUDA_R_32F, call.step_out),
        cublas.CUBLAS_COMPUTE_32F,
        cublas.CUBLAS_GEMM_DEFAULT,
    )

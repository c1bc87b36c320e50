"""Products of bfloat16 matrices, by NumPy and as cuBLAS is asked for them."""

import ctypes
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from minivlm.errors import InputError
from minivlm_kernels.arrays import BF16, F32
from minivlm_kernels.cuda import gemm
from tests.kernels.oracles import double, relative_error
from tests.kernels.places import back, place

HOW = [(False, False), (False, True), (True, False), (True, True)]
M, K, N = 5, 7, 3


def operands(transposed):
    """Parts of larger arrays, so that a row is followed by what does not belong to it."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((K, M + 2) if transposed else (M, K + 4)).astype(BF16)
    b = rng.standard_normal((K, N + 1)).astype(BF16)
    out = rng.standard_normal((M, N + 5)).astype(F32)
    a = a[:, :M] if transposed else a[:, :K]
    return a, b[:, :N], out[:, :N]


def right(a, b, out, transposed, add):
    left = double(a).T if transposed else double(a)
    return left @ double(b) + (double(out) if add else 0)


@pytest.mark.parametrize(("transposed", "add"), HOW)
def test_a_product_is_one(transposed, add):
    a, b, out = operands(transposed)
    expected = right(a, b, out, transposed, add)
    if not add:
        out[...] = np.nan
    a, b, out = map(place, (a, b, out))
    gemm.multiply(a, b, out, transposed=transposed, add=add)
    assert relative_error(back(out), expected) < 1e-6


class Matrix:
    """An array as CuPy would show it: not NumPy's, and with a pointer."""

    def __init__(self, array):
        self.array, self.data = array, SimpleNamespace(ptr=array.ctypes.data)
        self.shape, self.strides, self.dtype = array.shape, array.strides, array.dtype
        self.itemsize = array.itemsize


def by_columns(address, dtype, rows, columns, step):
    """A matrix as BLAS sees it: down its columns, `step` numbers from one to the next."""
    length = (columns - 1) * step + rows
    memory = (ctypes.c_char * (length * dtype.itemsize)).from_address(address)
    numbers = np.frombuffer(memory, dtype)
    return np.lib.stride_tricks.as_strided(
        numbers, (rows, columns), (dtype.itemsize, step * dtype.itemsize)
    )


def gemm_ex(handle, op_a, op_b, m, n, k, alpha, A, A_type, lda, B, B_type, ldb, beta, C, C_type,
            ldc, compute, algorithm):  # fmt: skip
    """What cublasGemmEx is documented to do."""
    assert (handle, A_type, B_type, C_type, compute, algorithm) == (5, 14, 14, 0, 68, -1)
    left = by_columns(A, BF16, k, m, lda).T if op_a else by_columns(A, BF16, m, k, lda)
    other = by_columns(B, BF16, n, k, ldb).T if op_b else by_columns(B, BF16, k, n, ldb)
    out = by_columns(C, F32, m, n, ldc)
    alpha, beta = (ctypes.c_float.from_address(x).value for x in (alpha, beta))
    product = np.float32(alpha) * (double(left) @ double(other))
    out[...] = product + (beta * out if beta else 0)


@pytest.fixture
def cublas(monkeypatch):
    cupy, cuda, device = (ModuleType(name) for name in ("cupy", "cupy.cuda", "cupy.cuda.device"))
    constants = {"CUBLAS_COMPUTE_32F": 68, "CUBLAS_GEMM_DEFAULT": -1}
    cuda.cublas = SimpleNamespace(gemmEx=gemm_ex, **constants)
    cuda.runtime = SimpleNamespace(CUDA_R_16BF=14, CUDA_R_32F=0)
    device.get_cublas_handle = lambda: 5
    for module in (cupy, cuda, device):
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("cublas")
@pytest.mark.parametrize(("transposed", "add"), HOW)
def test_blas_is_asked_for_the_same_product(transposed, add):
    a, b, out = operands(transposed)
    expected = right(a, b, out, transposed, add)
    untouched = out.base[:, N:].copy()
    if not add:
        out[...] = np.nan
    gemm.multiply(Matrix(a), Matrix(b), Matrix(out), transposed=transposed, add=add)
    assert relative_error(out, expected) < 1e-6
    assert np.array_equal(out.base[:, N:], untouched)


def test_shapes_that_do_not_fit_are_refused():
    a, b, out = operands(False)
    with pytest.raises(ValueError, match=r"a \(7, 5\) times b \(7, 3\) is not out \(5, 3\)"):
        gemm.blas_call(a, b, out, True)
    with pytest.raises(ValueError, match=r"is not out \(4, 3\)"):
        gemm.blas_call(a, b, out[:4], False)


def test_without_cublas_the_user_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy.cuda", None)
    a, b, out = map(Matrix, operands(False))
    with pytest.raises(InputError, match=r"need cuBLAS .*doctor says what is missing"):
        gemm.multiply(a, b, out)

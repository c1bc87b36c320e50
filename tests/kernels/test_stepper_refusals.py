"""What the stepper does not take, it refuses in a sentence."""

# pyright: reportOperatorIssue=false, reportOptionalSubscript=false, reportIndexIssue=false

import math
from types import SimpleNamespace

import numpy as np
import pytest
from numba import cuda, float32

from minivlm_kernels.stepper import step
from tests.kernels.steps import ones, zeros


@cuda.jit
def writes_one(x):
    x[cuda.threadIdx.x] = 1


@cuda.jit
def shuffles(out):
    out[0] = cuda.shfl_sync(-1, out[0], 0)


@cuda.jit
def subtracts(out):
    cuda.atomic.sub(out, 0, 1)


@cuda.jit
def masked(out):
    cuda.syncwarp(0x3)


@cuda.jit
def slices(out):
    out[0:2] = 1


@cuda.jit
def writes_rows(out):
    out[0] = 1


@cuda.jit
def too_many(out):
    out[0, 0, 0] = 1


@cuda.jit
def iterates(out):
    for _ in out:
        pass


def plain(x):
    return x


@cuda.jit
def calls_plain(out):
    out[0, 0] = plain(1)


@pytest.mark.parametrize(
    ("kernel", "error", "says"),
    [
        (shuffles, AttributeError, "of cuda, the stepper knows threadIdx, .*; not shfl_sync"),
        (subtracts, AttributeError, r"atomic.add, .*; not sub"),
        (masked, TypeError, r"cuda.syncwarp\(3\) only without arguments"),
        (slices, TypeError, r"out is indexed by slice\(0, 2, None\); .* take integers"),
        (writes_rows, TypeError, r"out\[0\] of shape \(2,\) is assigned to as a whole"),
        (too_many, TypeError, r"out of shape \(2, 2\) is indexed by \(0, 0, 0\)"),
        (iterates, TypeError, "not iterable"),
        (calls_plain, TypeError, "calls_plain calls plain, which is a plain Python function; with"),
        (3, TypeError, "3 is neither a function nor what numba.cuda.jit made of one"),
        (eval("lambda out: out"), TypeError, "a kernel's source, and <lambda> has none"),
        (lambda out: out, TypeError, "that of <lambda> does not begin here"),
    ],
)
def test_what_it_does_not_know_it_refuses_in_a_sentence(kernel, error, says):
    with pytest.raises(error, match=says):
        step(kernel, 1, 1, zeros(2, 2))


def test_a_file_that_changed_since_it_was_imported_is_refused(tmp_path):
    path = tmp_path / "kernels.py"
    text = "def first(x):\n    x[0] = 1\n\n\ndef second(x):\n    x[0] = 2\n"
    path.write_text(text)
    module = {}
    exec(compile(text, path, "exec"), module)
    path.write_text("import math\n" + text)
    with pytest.raises(TypeError, match="that of second does not begin here; if the file has"):
        step(module["second"], 1, 1, ones(1))


def test_a_wrong_number_of_arguments_is_refused():
    with pytest.raises(TypeError, match=r"writes_one takes 1 arguments \(x\), and was given 2"):
        step(writes_one, 1, 1, ones(2), 3)


def test_a_wrong_grid_is_refused():
    with pytest.raises(ValueError, match="not one, two or three numbers along x, y, z"):
        step(writes_one, (1, 1, 1, 1), 1, ones(2))


@cuda.jit
def asks_for_much(out):
    a = cuda.shared.array((64, 128), float32)
    b = cuda.shared.array((64, 65), float32)
    a[0, 0] = b[0, 0] = out[0]


def test_more_than_a_gpu_has_is_refused():
    with pytest.raises(ValueError, match=r"\(64, 32, 1\), which is 2048 threads, .* than 1024"):
        step(writes_one, 1, (64, 32), ones(2))
    with pytest.raises(ValueError, match=r"with b \(64, 65\), .* 49,408 bytes, .* than 49,152"):
        step(asks_for_much, 1, 1, ones(2))


def test_arrays_on_a_gpu_are_refused():
    on_gpu = SimpleNamespace(__cuda_array_interface__={})
    with pytest.raises(TypeError, match="on the host, and x is on the GPU; give it NumPy arrays"):
        step(writes_one, 1, 1, on_gpu)


@cuda.jit
def takes_a_root(x):
    x[cuda.threadIdx.x] = math.sqrt(x[cuda.threadIdx.x])


def test_an_error_in_a_kernel_names_the_thread():
    with pytest.raises(ValueError, match="math domain error") as caught:
        step(takes_a_root, 1, 3, np.array([1, 4, -1], np.float32))
    assert caught.value.__notes__ == ["in thread (2, 0, 0) of block (0, 0, 0), kernel takes_a_root"]

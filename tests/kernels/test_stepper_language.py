"""The stepper runs kernels as Numba would: whatever a kernel may use is there, and counts right."""

# pyright: reportOperatorIssue=false, reportOptionalSubscript=false, reportIndexIssue=false

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numba import cuda, float32, int32

from minivlm_kernels.arrays import BF16
from minivlm_kernels.stepper import DivergentBarrier, Race, step
from tests.kernels.conftest import ON_GPU
from tests.kernels.steps import both_orders, zeros

if TYPE_CHECKING:
    from minivlm.tensor import Array


@cuda.jit
def who_am_i(out):
    x, y, z = cuda.grid(3)
    n = cuda.gridsize(1)
    assert (x, y) == cuda.grid(2)
    assert (n, 4, 2) == cuda.gridsize(3)
    t, b, size, blocks = cuda.threadIdx, cuda.blockIdx, cuda.blockDim, cuda.gridDim
    assert (size.x, size.y, size.z) == (3, 2, 1)
    assert (blocks.x, blocks.y, blocks.z) == (1, 2, 2)
    assert (x, y, z) == (b.x * 3 + t.x, b.y * 2 + t.y, b.z + t.z)
    out[z, y, x] += 1


def test_every_thread_of_every_block_runs_once():
    out = zeros(2, 4, 3)
    log = step(who_am_i, (1, 2, 2), (3, 2), out)
    np.testing.assert_array_equal(out, 1)
    assert log.launches[0].grid == (1, 2, 2)
    assert log.launches[0].block == (3, 2, 1)


def test_a_plain_function_is_a_kernel_too():
    def kernel(out):
        out[0] = 3

    out = zeros(1)
    step(kernel, 1, 1, out)
    assert out[0] == 3


def make_kernel(size, weight):
    @cuda.jit
    def kernel(x, out):
        s, s2 = cuda.shared.array(size, float32), cuda.shared.array(size, float32)
        t = cuda.threadIdx.x
        i = 0
        s[t] = x[t]
        s2[t] = weight
        cuda.syncthreads()
        while i < size:
            out[t] += s[i] * s2[i]
            i += 1

    return kernel


def test_constants_come_from_the_factory_and_arrays_on_one_line_are_two():
    out = zeros(3)
    log = step(make_kernel(3, 2), 1, 3, np.arange(3, dtype=np.float32), out)
    np.testing.assert_array_equal(out, 6)
    assert {"s", "s2"} < set(log.launches[0].arrays)
    step(make_kernel(3, 5), 1, 3, np.arange(3, dtype=np.float32), out)
    np.testing.assert_array_equal(out, 6 + 15)


@cuda.jit(device=True)
def sum_of_block(s, value):
    t = cuda.threadIdx.x
    s[t] = value
    cuda.syncthreads()
    total = float32(0)
    for i in range(cuda.blockDim.x):
        total += s[i]
    cuda.syncthreads()
    return total


@cuda.jit(device=True)
def twice(value):
    return 2 * value


@cuda.jit(device=True)
def mean_of_block(s, value):
    return sum_of_block(s, value) / cuda.blockDim.x


HELPERS = SimpleNamespace(mean_of_block=mean_of_block)


def make_reduction(combine):
    @cuda.jit
    def kernel(x, out):
        s = cuda.shared.array(8, float32)
        t = cuda.threadIdx.x
        total = twice(combine(s, x[t])) + HELPERS.mean_of_block(s, x[t])
        if t == 0:
            out[0] = total

    return kernel


def test_device_functions_may_hold_barriers_and_call_each_other():
    x, out = np.arange(4, dtype=np.float32), zeros(1)
    log = step(make_reduction(sum_of_block), 1, 4, x, out)
    assert out[0] == 2 * 6 + 1.5
    assert log.launches[0].barriers == 4
    step(make_reduction(mean_of_block), 1, 4, x, out)
    assert out[0] == 2 * 1.5 + 1.5


@cuda.jit
def barrier_in_an_expression(out):
    s = cuda.shared.array(2, float32)
    t = cuda.threadIdx.x
    s[t] = t
    out[t] = s[1 - t] if cuda.syncthreads() is None else -1


def test_a_barrier_may_stand_anywhere():
    out = zeros(2)
    step(barrier_in_an_expression, 1, 2, out)
    np.testing.assert_array_equal(out, [1, 0])


@cuda.jit
def atomics(x, old):
    t = cuda.threadIdx.x
    old[t] = cuda.atomic.add(x, 0, t)
    cuda.atomic.max(x, (1,), 10 * t)
    cuda.atomic.min(x, 2, -t)


def test_atomic_updates_give_what_was_before():
    x, old = np.array([1, 5, 5], np.int32), np.zeros(3, np.int32)
    log = step(atomics, 1, 3, x, old)
    np.testing.assert_array_equal(x, [4, 20, -2])
    np.testing.assert_array_equal(old, [1, 1, 2])
    assert log.launches[0].arrays["x"].atomics == 9
    assert log.launches[0].writes() == 3


def make_exchange(of_warp):
    @cuda.jit
    def kernel(out, shift):
        s = cuda.shared.array(64, int32)
        t = cuda.threadIdx.x
        for i in range(2):
            s[t] = t + i
            cuda.syncwarp()
            out[i, t] = s[(t + shift) % 64]
            if of_warp:
                cuda.syncwarp()
            else:
                cuda.syncthreads()

    return kernel


@both_orders
def test_a_warps_barrier_orders_the_threads_of_a_warp_alone(backwards):
    out = np.zeros((2, 64), np.int32)
    for kernel in (make_exchange(True), make_exchange(False)):
        step(kernel, 1, 64, out, 0, backwards=backwards)
    with pytest.raises(Race):
        step(make_exchange(True), 1, 64, out, 1, backwards=backwards)  # 31 reads what 32 wrote


@cuda.jit
def neighbours_of_one_warp(out):
    s = cuda.shared.array(32, int32)
    t = cuda.threadIdx.x
    s[t] = t
    cuda.syncwarp()
    out[t] = s[(t + 1) % 32]
    cuda.syncwarp()
    s[t] = 0


def test_within_a_warp_its_barrier_is_enough():
    out = np.zeros(32, np.int32)
    log = step(neighbours_of_one_warp, 1, 32, out)
    np.testing.assert_array_equal(out, np.roll(np.arange(32), -1))
    assert log.launches[0].barriers == 0


@cuda.jit
def half_a_warp(out):
    if cuda.threadIdx.x < 16:
        cuda.syncwarp()
    else:
        cuda.syncthreads()


def test_a_warps_barrier_diverges_too():
    with pytest.raises(DivergentBarrier, match=r"all threads of a warp must"):
        step(half_a_warp, 1, 32, zeros(1))


@cuda.jit
def arithmetic(x, out):
    t = cuda.threadIdx.x
    row = x[t]  # a part of an array
    a = cuda.local.array(2, float32)
    a[0] = row[0] * float32(0.1)
    a[1] = max(a[0], row[1]) + math.exp(-row[1])
    out[t, 0] = a[1] / float32(3)
    out[t, 1] = a[0] * len(row) + row.shape[0] + x.ndim + row.ndim + row.size


@pytest.mark.skipif(ON_GPU, reason="there is no simulator beside a GPU")
def test_numbers_are_those_of_the_simulator():
    x = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)
    ours, theirs = zeros(4, 2), zeros(4, 2)
    step(arithmetic, 1, 4, x, ours)
    arithmetic[1, 4](x, theirs)
    assert np.abs(ours).min() > 0
    np.testing.assert_array_equal(ours, theirs)


@cuda.jit
def divides(x, out):
    out[0] = x[0] / x[1]


def test_dividing_by_zero_is_no_mistake():
    out = zeros(1)
    step(divides, 1, 1, np.array([1, 0], np.float32), out)
    assert out[0] == np.inf


@cuda.jit
def through_shared(x, out):
    s = cuda.shared.array(1, BF16)
    s[0] = x[0]
    out[0] = s[0] + x[1]
    out[1] = s[0]


def test_bfloat16_is_rounded_in_shared_memory():
    out = zeros(2)
    step(through_shared, 1, 1, np.array([1.001, 1], np.float32), out)
    np.testing.assert_array_equal(out, [2, 1])


@cuda.jit
def unwritten_bfloat16(out):
    s = cuda.shared.array(1, BF16)
    out[0] = s[0]


def test_unwritten_bfloat16_is_nan():
    out = zeros(1)
    step(unwritten_bfloat16, 1, 1, out, stop=False)
    assert np.isnan(out[0])


@cuda.jit
def sums_by_rows(x, mask, out):
    i = cuda.threadIdx.x
    for j in range(x.shape[1]):
        if mask[i, j]:
            out[i] += x[i, j]


def test_arrays_of_any_strides_are_taken():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    mask = np.broadcast_to(np.array([True]), (4, 3))
    out = zeros(8)
    log = step(sums_by_rows, 1, 4, x.T, mask, out[::2])
    np.testing.assert_array_equal(out[::2], x.sum(0))
    np.testing.assert_array_equal(out[1::2], 0)
    assert log.launches[0].arrays["mask"].reuse == 12


OFFSET = 1


@cuda.jit
def adds_the_offset(out):
    out[0] += OFFSET


def test_a_global_is_read_anew_in_each_launch(monkeypatch):
    out = zeros(1)
    step(adds_the_offset, 1, 1, out)
    monkeypatch.setitem(globals(), "OFFSET", 10)
    step(adds_the_offset, 1, 1, out)
    assert out[0] == 11


@cuda.jit
def says_what_it_takes(out: Array) -> None:
    out[0] = 1


def test_annotations_are_not_looked_up():
    step(says_what_it_takes, 1, 1, zeros(1))

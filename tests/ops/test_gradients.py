"""Each op: the slope in float64, float32 kept, nothing overwritten or leaked, a home elsewhere."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivlm.gradcheck import gradcheck
from minivlm.ops.convolve import conv2d
from minivlm.ops.linear import linear
from minivlm.tensor import Tensor
from tests.ops.cases import CASES
from tests.standin import DeviceArray
from tests.tape import gradients_on_the_way, kept_arrays

each_op = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def leaves(shapes, dtype=np.float64, wrap=np.asarray):
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
    return [Tensor(wrap(array), requires_grad=True) for array in arrays]


def locked(array):
    array.flags.writeable = False
    return array


@each_op
@given(data=st.data())
def test_the_gradient_is_the_slope(case, data):
    inputs = leaves(data.draw(case.shapes))
    gradcheck(case.ours, *inputs, rng=np.random.default_rng(1))


@each_op
@given(data=st.data())
def test_float32_stays_forward_and_backward(case, data):
    inputs = leaves(data.draw(case.shapes), np.float32)
    y = case.ours(*inputs)
    assert y.dtype == np.float32
    assert {dx.dtype for dx in gradients_on_the_way(y)} == {np.dtype(np.float32)}
    assert [x.grad.shape for x in inputs] == [x.shape for x in inputs]


@each_op
@given(data=st.data())
def test_neither_inputs_nor_incoming_gradients_are_written_to(case, data):
    inputs = leaves(data.draw(case.shapes), wrap=locked)
    y = case.ours(*inputs)
    dy = locked(np.ones_like(y.data))  # another op may have been lent the same array
    for edge in y.node.edges:
        edge.vjp(dy)


@each_op
@given(data=st.data())
def test_a_frozen_input_gets_no_gradient_and_changes_no_other(case, data):
    shapes = data.draw(case.shapes)
    free = leaves(shapes)
    case.ours(*free).sum().backward()
    for frozen in range(len(shapes)):
        inputs = leaves(shapes)
        inputs[frozen].requires_grad = False
        y = case.ours(*inputs)
        assert y.requires_grad == (len(shapes) > 1)
        if y.requires_grad:
            y.sum().backward()
        assert inputs[frozen].grad is None
        for i in set(range(len(shapes))) - {frozen}:
            np.testing.assert_array_equal(inputs[i].grad, free[i].grad)


@each_op
@given(data=st.data())
@settings(max_examples=1)
def test_no_vjp_is_part_of_a_cycle(case, data):
    shapes = data.draw(case.shapes)
    gc.disable()  # without the collector, only memory in no cycle is freed
    try:
        y = case.ours(*leaves(shapes))
        vjps = [weakref.ref(edge.vjp) for edge in y.node.edges]
        del y
        assert [vjp() for vjp in vjps] == [None] * len(vjps)
    finally:
        gc.enable()


WITH_WEIGHTS = {  # a picture or some rows, and the weight that may be frozen
    "linear": (linear, (7, 5), (3, 5)),
    "conv2d": (lambda x, w: conv2d(x, w, padding=1), (2, 3, 6, 5), (4, 3, 2, 2)),
}


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_only_a_weight_that_learns_keeps_activations_in_memory(name):
    op, *shapes = WITH_WEIGHTS[name]
    x, weight = leaves(shapes)
    assert max(array.size for array in kept_arrays(op(x, weight))) >= x.data.size
    weight.requires_grad = False
    assert max(array.size for array in kept_arrays(op(x, weight))) == weight.data.size


@each_op
@given(data=st.data())
def test_it_runs_where_arrays_live_on_a_device(case, data):
    shapes = data.draw(case.shapes)
    there, here = leaves(shapes, np.float32, DeviceArray), leaves(shapes, np.float32)
    y, expected = case.ours(*there), case.ours(*here)
    assert isinstance(y.data, DeviceArray)
    np.testing.assert_array_equal(y.data.get(), expected.data)
    y.sum().backward()
    expected.sum().backward()
    for x, other in zip(there, here, strict=True):
        assert isinstance(x.grad, DeviceArray)
        np.testing.assert_array_equal(x.grad.get(), other.grad)

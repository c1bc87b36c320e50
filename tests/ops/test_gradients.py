"""Each op: the slope in float64, float32 kept, and a home on another device."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.gradcheck import gradcheck
from minivlm.tensor import Tensor
from tests.ops.cases import CASES
from tests.standin import DeviceArray


def leaves(shapes, dtype=np.float64, wrap=np.asarray):
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
    return [Tensor(wrap(array), requires_grad=True) for array in arrays]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@given(data=st.data())
def test_the_gradient_is_the_slope(case, data):
    inputs = leaves(data.draw(case.shapes))
    gradcheck(case.ours, *inputs, rng=np.random.default_rng(1))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@given(data=st.data())
def test_float32_stays_forward_and_backward(case, data):
    inputs = leaves(data.draw(case.shapes), np.float32)
    y = case.ours(*inputs)
    assert y.dtype == np.float32
    y.sum().backward()
    for x in inputs:
        assert x.grad is not None
        assert (x.grad.dtype, x.grad.shape) == (np.float32, x.shape)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
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

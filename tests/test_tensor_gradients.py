"""The gradients of arithmetic, of functions of each element, and of moving values about."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from minivlm.gradcheck import gradcheck
from minivlm.ops.join import concatenate, where
from minivlm.tensor import Tensor
from tests.standin import DeviceArray
from tests.tape import gradients_on_the_way


def leaf(*shape):
    return Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


def positives(*shapes, dtype=np.float64, wrap=np.asarray):
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.uniform(0.5, 2, shape), dtype) for shape in shapes]
    return [Tensor(wrap(array), requires_grad=True) for array in arrays]


def positive(*shape, dtype=np.float64):
    return positives(shape, dtype=dtype)[0]


def at(x, *index):
    """Integers where x lives, be it a tensor or an array."""
    return np.array(index, like=x.data if isinstance(x, Tensor) else x)


def check(f, *inputs):
    gradcheck(f, *inputs, rng=np.random.default_rng(0))


BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "where": lambda a, b: where(a.data > 1, a, b),
    "where, by integers": lambda a, b: where((a.data > 1).astype(int), a, b),
    "where, by one boolean": lambda a, b: where(True, a, b),
}
UNARY = {
    "neg": lambda x: -x,
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "sqrt": lambda x: x.sqrt(),
    "square": lambda x: x**2,
    "power -0.5": lambda x: x**-0.5,
    "1 - x": lambda x: 1 - x,
    "2 / x": lambda x: 2 / x,
    "x + x": lambda x: x + x,
    "0.5 * x": lambda x: 0.5 * x,
    "x * array": lambda x: x * np.arange(1.0, 4.0),
    "array - x": lambda x: np.arange(1.0, 4.0) - x,
}
SHAPING = {
    "sum": lambda x: x.sum(),
    "sum 1": lambda x: x.sum(1),
    "sum -1 keepdims": lambda x: x.sum(-1, keepdims=True),
    "sum of two axes": lambda x: x.sum((0, -1)),
    "mean": lambda x: x.mean(),
    "mean 0": lambda x: x.mean(0),
    "mean of two axes": lambda x: x.mean((1, 2), keepdims=True),
    "max": lambda x: x.max(),
    "max -1": lambda x: x.max(-1),
    "max of two axes": lambda x: x.max((0, 1), keepdims=True),
    "reshape": lambda x: x.reshape(4, -1),
    "transpose": lambda x: x.transpose(2, 0, 1),
    "transpose, from the end": lambda x: x.transpose(0, -1, 1),
    "transpose all": lambda x: x.transpose(),
    "mT": lambda x: x.mT,
    "integer": lambda x: x[1],
    "negative step": lambda x: x[:, ::-2],
    "ellipsis": lambda x: x[..., 1:3],
    "new axis": lambda x: x[:, None],
    "repeated rows": lambda x: x[at(x, 0, 1, 1, 0, 1)],
    "list": lambda x: x[[1, 1]],
    "tuple for a list": lambda x: x[(0, 1, 1),],
    "pairs": lambda x: x[at(x, 0, 1, 1), at(x, 2, 0, 0)],
    "booleans": lambda x: x[x.data > 0],
    "concatenate": lambda x: concatenate([x, x * 2, x[:1]], axis=0),
    "concatenate -1": lambda x: concatenate([x, x], axis=-1),
}


@pytest.mark.parametrize("name", BINARY)
@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4))
def test_the_gradient_of_two_broadcast_inputs_is_their_slope(name, shapes):
    check(BINARY[name], *positives(*shapes.input_shapes))


@pytest.mark.parametrize("name", UNARY)
@given(rows=st.integers(1, 4))
def test_the_gradient_of_a_function_of_each_element_is_its_slope(name, rows):
    check(UNARY[name], positive(rows, 3))


@pytest.mark.parametrize("name", SHAPING)
@given(shape=st.tuples(st.integers(2, 4), st.integers(3, 4), st.sampled_from([4, 8])))
def test_the_gradient_of_moved_and_summed_values_is_their_slope(name, shape):
    check(SHAPING[name], leaf(*shape))


@given(shapes=mutually_broadcastable_shapes(signature="(n,k),(k,m)->(n,m)", max_dims=2, max_side=3))
def test_the_gradient_of_a_batched_product_is_its_slope(shapes):
    check(lambda a, b: a @ b, *positives(*shapes.input_shapes))


LIKE_NUMPY = {  # what an array's own operators and methods say, too
    name: f
    for name, f in (BINARY | UNARY | SHAPING).items()
    if not name.startswith(("where", "booleans", "exp", "log", "sqrt", "concatenate"))
}


@pytest.mark.parametrize("name", LIKE_NUMPY)
def test_the_value_is_that_of_numpy(name):
    f = LIKE_NUMPY[name]
    inputs = positives((2, 3, 4), (3, 1)) if name in BINARY else [positive(2, 3, 3)]
    inputs = inputs if name not in SHAPING else [leaf(2, 3, 4)]
    expected = f(*(x.data for x in inputs))
    y = f(*inputs)
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y.data, expected)


def test_the_values_of_functions_and_joins_are_those_of_numpy():
    x, y = positives((2, 3), (2, 3))
    for name in ("exp", "log", "sqrt"):
        np.testing.assert_array_equal(getattr(x, name)().data, getattr(np, name)(x.data))
    np.testing.assert_array_equal(x[x.data > 1].data, x.data[x.data > 1])
    np.testing.assert_array_equal(
        where(x.data > 1, x, y).data, np.where(x.data > 1, x.data, y.data)
    )
    joined = concatenate([x, y], axis=1).data
    np.testing.assert_array_equal(joined, np.concatenate([x.data, y.data], 1))


def test_equal_winners_share_the_gradient_of_max():
    x = Tensor([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]], requires_grad=True)
    x.max(-1).sum().backward()
    assert x.grad.tolist() == [[0, 0.5, 0.5], [1, 0, 0]]


def test_vectors_are_no_matrices():
    with pytest.raises(ValueError, match="@ takes matrices"):
        _ = leaf(3) @ leaf(3, 2)


def test_an_array_may_be_the_right_hand_matrix():
    x, W = leaf(2, 3), np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal((x @ W).data, x.data @ W)
    check(lambda x: x @ W, x)


@pytest.mark.parametrize("array", [np.arange(3), np.ones(3, bool), np.array(["a"])])
def test_what_is_not_floating_point_is_no_tensor(array):
    with pytest.raises(TypeError, match="floating-point numbers, not"):
        Tensor(array)


# float32 stays float32, and what lives on a device stays there.

ALL = (
    [pytest.param(f, [(2, 3), (3,)], id=name) for name, f in BINARY.items()]
    + [pytest.param(f, [(2, 3)], id=name) for name, f in UNARY.items()]
    + [pytest.param(f, [(2, 3, 4)], id=name) for name, f in SHAPING.items()]
    + [pytest.param(lambda a, b: a @ b, [(2, 2, 3), (3, 4)], id="matmul")]
)


@pytest.mark.parametrize(("f", "shapes"), ALL)
def test_float32_stays_forward_and_backward(f, shapes):
    y = f(*positives(*shapes, dtype=np.float32))
    assert y.dtype == np.float32
    assert {dx.dtype for dx in gradients_on_the_way(y)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("f", "shapes"), ALL)
def test_it_runs_where_arrays_live_on_a_device(f, shapes):
    there, here = positives(*shapes, wrap=DeviceArray), positives(*shapes)
    y, expected = f(*there), f(*here)
    np.testing.assert_array_equal(y.data.get(), expected.data)
    y.sum().backward()
    expected.sum().backward()
    for x, other in zip(there, here, strict=True):
        np.testing.assert_array_equal(x.grad.get(), other.grad)


def test_a_numpy_number_as_an_exponent_widens_nothing():
    y = positive(3, dtype=np.float32) ** np.float64(2)
    assert y.dtype == np.float32
    assert {dx.dtype for dx in gradients_on_the_way(y)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("other", [2, 2.5, np.float64(2.5), np.ones(3), np.ones((2, 3), int)])
def test_numbers_and_arrays_take_the_dtype_of_the_tensor(other):
    x = positive(2, 3, dtype=np.float32)
    for y in (x + other, other - x, x * other, other / x, x / other):
        assert y.dtype == np.float32
        assert y.shape == (2, 3)


def test_numbers_become_float32_tensors():
    assert Tensor(1.5).dtype == np.float32
    assert Tensor([1, 2]).dtype == np.float32
    assert Tensor(np.float64(1)).dtype == np.float64

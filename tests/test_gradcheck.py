import numpy as np
import pytest

from minivlm.gradcheck import gradcheck
from minivlm.tensor import Tensor, record


def leaf(*shape, dtype=np.float64):
    values = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    return Tensor(values, requires_grad=True)


def cube(slope):
    """x³ with a gradient of our choice."""
    return lambda x: record(x.data**3, (x, lambda dy: slope(dy, x.data)))


def check(f, x):
    gradcheck(f, x, rng=np.random.default_rng(0))


def test_a_right_gradient_passes():
    check(cube(lambda dy, x: dy * 3 * x * x), leaf(3, 4))


@pytest.mark.parametrize("factor", [1.001, 0.999, -1, 0])
def test_a_gradient_wrong_by_a_thousandth_fails(factor):
    with pytest.raises(AssertionError, match="central differences say"):
        check(cube(lambda dy, x: factor * dy * 3 * x * x), leaf(3, 4))


def test_one_wrong_element_of_many_fails():
    def slope(dy, x):
        dx = dy * 3 * x * x
        dx[0, 0] *= 1.01
        return dx

    with pytest.raises(AssertionError, match="central differences say"):
        check(cube(slope), leaf(10, 10))


def test_a_gradient_that_is_no_number_fails():
    with pytest.raises(AssertionError, match="nan"):
        check(cube(lambda dy, x: dy * np.nan), leaf(3))


def test_a_gradient_of_another_shape_fails():
    with pytest.raises(ValueError, match=r"reshape array of size 8 into shape \(3, ?4\)"):
        check(cube(lambda dy, x: (dy * 3 * x * x)[:-1]), leaf(3, 4))


def test_an_output_that_forgets_its_input_fails():
    with pytest.raises(AssertionError, match="does not depend on any input"):
        check(lambda x: Tensor(x.data * 2), leaf(3))


def test_an_input_without_a_gradient_is_not_called_right():
    def half_forgotten(a, b):
        return record(a.data * b.data, (a, lambda dy: dy * b.data))

    with pytest.raises(AssertionError, match="input 1"):
        gradcheck(half_forgotten, leaf(3), leaf(3), rng=np.random.default_rng(0))


def test_float32_is_refused():
    with pytest.raises(ValueError, match="input 0 is float32"):
        check(lambda x: x * 2, leaf(3, dtype=np.float32))


def test_the_inputs_are_put_back():
    x = leaf(3)
    before = x.data.copy()
    check(lambda x: x * x, x)
    assert np.array_equal(x.data, before)

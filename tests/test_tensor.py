"""Every property that architecture.md promises of the autograd core, a sentence each."""

import gc
import threading
import weakref

import numpy as np
import pytest

from minivlm.tensor import Tensor, no_grad, record


def leaf(*shape, dtype=np.float64):
    values = np.random.default_rng(0).standard_normal(shape)
    return Tensor(values.astype(dtype), requires_grad=True)


@pytest.fixture
def no_collector():
    """Without the cycle collector, only memory in no cycle is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# The sweep.


def test_a_diamond_is_walked_once_and_in_order():
    x = leaf(3)
    a = x * 2
    b, c = a * a, a + 1
    (b * c).sum().backward()
    v = x.data
    np.testing.assert_allclose(x.grad, 2 * (3 * (2 * v) ** 2 + 2 * (2 * v)))


def test_a_chain_of_fifty_thousand_steps_passes():
    x = leaf(2)
    y = x
    for _ in range(50_000):
        y = y + 0.0
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_gradients_add_up_over_calls():
    x = leaf(3)
    x.sum().backward()
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3, 3, 3]


def test_a_second_backward_says_that_the_graph_is_freed():
    x = leaf(3)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="freed the graph"):
        y.backward()


def test_backward_into_a_freed_part_says_so():
    x = leaf(3)
    shared = x * x
    shared.sum().backward()
    with pytest.raises(RuntimeError, match="freed the graph"):
        (shared * 2).sum().backward()


def test_backward_starts_from_a_scalar_that_depends_on_something():
    with pytest.raises(ValueError, match=r"from a scalar, not from shape \(3,\)"):
        (leaf(3) * 2).backward()
    with pytest.raises(ValueError, match="requires a gradient"):
        Tensor(1.0).backward()


# Aliasing: borrow, then own.


def test_two_leaves_never_share_one_gradient():
    a, b = leaf(3), leaf(3)
    (a + b).sum().backward()
    a.grad *= 0
    assert b.grad.tolist() == [1, 1, 1]


def test_a_borrowed_gradient_is_not_added_into():
    a, b = leaf(3), leaf(3)
    x, y = a * 1.0, b * 1.0
    ((x + y) + (x + y) + x).sum().backward()
    assert a.grad.tolist() == [3, 3, 3]
    assert b.grad.tolist() == [2, 2, 2]


def test_a_vjp_that_returns_its_own_array_keeps_it():
    kept = np.ones(3)
    a = leaf(3)
    y = record(a.data.copy(), (a, lambda dy: kept))
    (y + a + a).sum().backward()
    a.grad += 5
    assert kept.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_a_leafs_gradient_is_an_array_of_its_shape_and_dtype(shape):
    x = leaf(*shape, dtype=np.float32)
    (x * x).sum().backward()
    assert isinstance(x.grad, np.ndarray)
    assert (x.grad.shape, x.grad.dtype) == (shape, np.float32)


# Memory: freed by reference count alone.


def test_values_die_with_their_tensors_where_no_vjp_needs_them(no_collector):
    x = leaf(100)
    y = x + x
    array, tensor = weakref.ref(y.data), weakref.ref(y)
    z = y.sum()
    del y
    assert tensor() is None
    assert array() is None
    z.backward()


def test_values_live_while_a_vjp_needs_them_and_die_in_the_sweep(no_collector):
    x = leaf(100)
    y = x + x
    array = weakref.ref(y.data)
    z = (y * y).sum()
    del y
    assert array() is not None
    z.backward()
    assert array() is None


def test_a_graph_that_is_dropped_is_freed_without_a_sweep(no_collector):
    x = leaf(100)
    y = x.exp()
    node = y.node
    array = weakref.ref(y.data)
    del y
    assert array() is not None
    del node
    assert array() is None


def test_a_deep_graph_that_is_dropped_is_freed_to_its_end(no_collector):
    y = leaf(2).exp()
    first_vjp = weakref.ref(y.node.edges[0].vjp)
    for _ in range(50_000):
        y = y + 0.0
    assert first_vjp() is not None
    del y
    assert first_vjp() is None


def test_a_frozen_input_costs_neither_memory_nor_work(no_collector):
    called = []

    def scaled(x, weight):
        a, b = x.data, weight.data
        return record(
            a * b,
            (x, lambda dy: dy * b),
            (weight, lambda dy: called.append(1) or (dy * a).sum(0)),
        )

    x, weight = leaf(5, 3), Tensor(np.ones(3))
    h = x * 1.0
    activation = weakref.ref(h.data)
    y = scaled(h, weight)
    del h
    assert activation() is None
    y.sum().backward()
    assert called == []
    assert weight.grad is None

    weight.requires_grad = True
    h = x * 1.0
    activation = weakref.ref(h.data)
    y = scaled(h, weight)
    del h
    assert activation() is not None
    y.sum().backward()
    assert called == [1]
    assert weight.grad.shape == (3,)


def test_a_frozen_graph_has_no_nodes():
    y = (Tensor(np.ones(3)) * Tensor(np.ones(3))).sum()
    assert y.node is None
    assert not y.requires_grad


def test_a_shared_vjp_gives_frozen_inputs_nothing():
    a, b = leaf(3), Tensor(np.ones(3))
    y = record(a.data * b.data, ((a, b), lambda dy: (dy * b.data, dy * a.data)))
    y.sum().backward()
    assert a.grad.tolist() == [1, 1, 1]
    assert b.grad is None


# no_grad.


def test_inside_no_grad_nothing_is_recorded():
    x = leaf(3)
    with no_grad():
        y = x * 2
        with no_grad():
            pass
        z = x * 2
    assert y.node is None
    assert z.node is None
    assert (x * 2).node is not None


def test_no_grad_ends_with_an_exception():
    x = leaf(3)
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (x * 2).node is not None


def test_no_grad_of_one_thread_is_not_that_of_another():
    x, seen = leaf(3), []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).node is not None))
        thread.start()
        thread.join()
    assert seen == [True]


# What a debugger shows.


def test_repr_tells_shape_dtype_origin_range_and_gradient():
    x = Tensor([3.0, 4.0], requires_grad=True)
    assert repr(x) == "Tensor(2) float32 leaf 3 … 4"
    assert repr(x.exp()).startswith("Tensor(2) float32 from Tensor.exp 20.09 … 54.6")
    (x * x / 2).sum().backward()
    assert repr(x).endswith("|grad| 5")
    assert repr(Tensor(np.zeros((0, 2)))) == "Tensor(0, 2) float64"


def test_values_leave_as_arrays_and_numbers():
    x = leaf(2, 3)
    assert x.numpy() is x.data
    assert x.sum().item() == float(x.data.sum())
    assert len(x) == 2
    assert x.ndim == 2

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.errors import InputError
from minivlm.tensor import Tensor
from minivlm.train.muon import Muon, is_hidden_matrix, orthogonalised
from minivlm.train.optim import SGD, AdamW
from minivlm.train.schedule import warmup_cosine

MAKERS = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "adamw": lambda p: AdamW(p, lr=0.1),
    "muon": lambda p: Muon(p, lr=0.1, adamw_lr=0.05),
}


def parameters():
    rng = np.random.default_rng(0)

    def leaf(*shape):
        return Tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)

    return {
        "blocks.0.fc.weight": leaf(12, 10),
        "blocks.0.fc.bias": leaf(12),
        "tokens.weight": leaf(30, 10),
        "log_scale": leaf(),
    }


def descend(optimizer, steps):
    """The squared length of all parameters, before and after some steps downhill."""
    lengths = []
    for _ in range(steps):
        optimizer.zero_grad()
        terms = [(p * p).sum() for p in optimizer.parameters.values()]
        loss = sum(terms[1:], terms[0])
        loss.backward()
        optimizer.step()
        lengths.append(loss.item())
    return lengths[0], lengths[-1]


@pytest.mark.parametrize("name", MAKERS)
def test_an_optimizer_goes_downhill_in_float32(name):
    optimizer = MAKERS[name](parameters())
    before, after = descend(optimizer, 30)
    assert after < before / 4
    assert all(p.dtype == np.float32 for p in optimizer.parameters.values())
    assert all(a.dtype in (np.float32, np.int64) for a in optimizer.state_dict().values())


@pytest.mark.parametrize("name", MAKERS)
def test_a_saved_optimizer_goes_on_with_the_same_bits(name):
    whole = MAKERS[name](parameters())
    descend(whole, 12)
    half = MAKERS[name](parameters())
    descend(half, 5)
    resumed = MAKERS[name](half.parameters)
    resumed.load_state_dict({k: v.copy() for k, v in half.state_dict().items()})
    descend(resumed, 7)
    for p, q in zip(whole.parameters.values(), resumed.parameters.values(), strict=True):
        assert np.array_equal(p.data, q.data)


@pytest.mark.parametrize("name", MAKERS)
def test_a_state_of_another_model_is_refused_with_its_key(name):
    optimizer = MAKERS[name](parameters())
    state = optimizer.state_dict()
    with pytest.raises(InputError, match=r"file lacks optimizer key steps"):
        optimizer.load_state_dict({k: v for k, v in state.items() if k != "steps"}, "file")
    with pytest.raises(InputError, match="unknown optimizer key zzz"):
        optimizer.load_state_dict(state | {"zzz": np.zeros(1)})
    key = next(k for k in state if k.endswith("fc.bias"))
    with pytest.raises(InputError, match=rf"{key} of shape \(5,\) \w+, not \(12,\)"):
        optimizer.load_state_dict(state | {key: np.zeros(5)})
    with pytest.raises(InputError, match=rf"{key} of shape \(12,\) float64, not .* float32"):
        optimizer.load_state_dict(state | {key: np.zeros(12)})
    with pytest.raises(InputError, match="steps -1, below 0"):
        optimizer.load_state_dict(state | {"steps": np.array(-1)})
    assert optimizer.steps == 0


def test_frozen_parameters_are_left_out():
    given = parameters()
    for p in given.values():
        p.requires_grad = False
    with pytest.raises(ValueError, match="all are frozen"):
        AdamW(given, lr=0.1)
    given["log_scale"].requires_grad = True
    assert list(AdamW(given, lr=0.1).parameters) == ["log_scale"]


def test_a_parameter_without_a_gradient_stays():
    given = parameters()
    optimizer = AdamW(given, lr=0.1)
    before = given["tokens.weight"].data.copy()
    given["log_scale"].grad = np.ones((), np.float32)
    optimizer.step()
    assert np.array_equal(given["tokens.weight"].data, before)


def test_only_matrices_decay():
    given = parameters()
    optimizer = AdamW(given, lr=0.1, weight_decay=0.5)
    before = {name: p.data.copy() for name, p in given.items()}
    for p in given.values():
        p.grad = np.zeros_like(p.data)
    optimizer.step()
    for name, p in given.items():
        factor = 0.95 if p.ndim == 2 else 1
        np.testing.assert_allclose(p.data, before[name] * factor, rtol=1e-6)


def test_muon_moves_matrices_between_features_and_nothing_else():
    names = {name for name, p in parameters().items() if is_hidden_matrix(name, p)}
    assert names == {"blocks.0.fc.weight"}


@given(rows=st.integers(9, 40), columns=st.integers(9, 40), scale=st.floats(1e-3, 1e3))
def test_orthogonalised_matrices_have_singular_values_near_one(rows, columns, scale):
    matrix = np.random.default_rng(rows * 100 + columns).standard_normal((rows, columns)) * scale
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    kept = s > 0.02 * np.linalg.norm(s)  # five steps do not lift the very smallest all the way
    near = orthogonalised(matrix)
    values = np.diag(u.T @ near @ vt.T)
    assert near.shape == matrix.shape
    assert (values[kept] > 0.6).all()
    assert (values < 1.3).all()
    np.testing.assert_allclose(u.T @ near @ vt.T, np.diag(values), atol=1e-6)


def test_the_schedule_rises_then_falls_to_its_floor():
    factors = [warmup_cosine(step, 100) for step in range(100)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert max(factors) == 1
    assert all(a >= b for a, b in pairwise(factors[5:]))
    assert factors[-1] == pytest.approx(0.02, abs=0.001)
    assert warmup_cosine(0, 1) == 1

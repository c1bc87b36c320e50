import numpy as np
import pytest

from minivlm.errors import InputError
from minivlm.nn.layers import Embedding, LayerNorm, Linear, RMSNorm
from minivlm.nn.module import Module, freeze, parameter, unfreeze
from minivlm.tensor import Tensor


class Tower(Module):
    def __init__(self, rng):
        self.first = Linear(3, 4, rng=rng)
        self.rest = [LayerNorm(4), Linear(4, 2, bias=False, rng=rng)]
        self.named = {"scale": parameter(np.ones(()))}
        self.tied = self.first
        self.note = "not a parameter"


@pytest.fixture
def tower():
    return Tower(np.random.default_rng(0))


def test_parameters_are_named_by_their_path_and_shared_ones_once(tower):
    assert list(tower.named_parameters()) == [
        "first.weight",
        "first.bias",
        "rest.0.weight",
        "rest.0.bias",
        "rest.1.weight",
        "named.scale",
    ]
    assert tower.size() == 12 + 4 + 4 + 4 + 8 + 1


def test_a_state_dict_loads_into_another_model_exactly(tower):
    other = Tower(np.random.default_rng(1))
    other.load_state_dict(tower.state_dict())
    for mine, theirs in zip(tower.parameters(), other.parameters(), strict=True):
        assert np.array_equal(mine.data, theirs.data)
        assert mine.data is not theirs.data


def test_loading_names_every_key_that_does_not_fit_and_changes_nothing(tower):
    before = {name: array.copy() for name, array in tower.state_dict().items()}
    wrong = dict(before)
    wrong["extra"] = np.zeros(1)
    wrong["rest.0.bias"] = np.zeros(5)
    del wrong["first.weight"]
    with pytest.raises(InputError) as error:
        tower.load_state_dict(wrong, "model.safetensors")
    said = str(error.value)
    assert "model.safetensors lacks first.weight" in said
    assert "has extra, which the model has no place for" in said
    assert "rest.0.bias of shape (5,) where the model has (4,)" in said
    assert all(np.array_equal(before[n], a) for n, a in tower.state_dict().items())


def test_frozen_parameters_get_no_gradient(tower):
    freeze(tower.first)
    x = Tensor(np.ones((2, 3), np.float32))
    tower.rest[1](tower.first(x)).sum().backward()
    assert tower.first.weight.grad is None
    assert tower.rest[1].weight.grad is not None
    unfreeze(tower.first)
    assert tower.first.weight.requires_grad


def test_astype_changes_every_parameter(tower):
    assert {p.dtype for p in tower.astype(np.float64).parameters()} == {np.dtype(np.float64)}


def test_layers_have_pytorchs_layouts():
    rng = np.random.default_rng(0)
    assert Linear(3, 5, rng=rng).weight.shape == (5, 3)
    assert Embedding(7, 4, rng=rng).weight.shape == (7, 4)
    assert Embedding(7, 4, rng=rng)(np.array([[1, 2, 2]])).shape == (1, 3, 4)
    assert RMSNorm(4)(Tensor(np.ones((2, 4), np.float32))).shape == (2, 4)

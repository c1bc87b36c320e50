import numpy as np
import pytest

from minivlm.gradcheck import gradcheck
from minivlm.models.decoder import Decoder
from minivlm.nn.layers import Linear
from minivlm.nn.lora import LoRALinear, add_lora, lora_parameters, merge_lora
from minivlm.ops.losses import cross_entropy
from minivlm.tensor import Tensor
from minivlm.train.optim import AdamW
from tests.models.test_decoder import CONFIG, some_ids

rng = np.random.default_rng(0)


def adapted(names=("q", "v"), dtype=np.float32):
    model = Decoder(CONFIG, np.random.default_rng(0)).astype(dtype)
    parameters = add_lora(model, set(names), rank=2, alpha=4, rng=np.random.default_rng(1))
    model.astype(dtype)
    return model, parameters


def test_nothing_changes_at_first():
    plain = Decoder(CONFIG, np.random.default_rng(0))
    model, _ = adapted()
    np.testing.assert_array_equal(model(some_ids()).data, plain(some_ids()).data)


def test_only_the_detours_learn_when_the_rest_is_frozen():
    layer = LoRALinear(Linear(5, 4, rng=rng), 2, 2, rng)
    layer(Tensor(np.ones((3, 5), np.float32))).sum().backward()
    assert layer.base.weight.grad is None
    assert layer.base.bias.grad is None
    assert layer.up.grad is not None


def test_the_gradient_of_the_detour_is_its_slope():
    layer = LoRALinear(Linear(5, 4, rng=rng), 2, 3, rng).astype(np.float64)
    layer.up.data = rng.standard_normal(layer.up.shape)
    x = Tensor(rng.standard_normal((2, 3, 5)), requires_grad=True)
    gradcheck(lambda x, *_: layer(x), x, layer.down, layer.up, rng=rng)


def test_parameters_are_found_by_name():
    _, parameters = adapted()
    assert len(parameters) == 2 * 2 * CONFIG.layers
    assert "blocks.1.attn.v.up" in parameters
    assert parameters["blocks.0.attn.q.down"].shape == (2, CONFIG.width)


def test_a_trained_detour_merges_into_the_same_model():
    model, parameters = adapted(dtype=np.float64)
    optimizer = AdamW(parameters, lr=0.05)
    ids, labels = some_ids(), some_ids(seed=1)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = cross_entropy(model(ids), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1
    before = model(ids).data
    merge_lora(model)
    assert lora_parameters(model) == {}
    assert model.named_parameters().keys() == Decoder(CONFIG, rng).named_parameters().keys()
    assert all(p.requires_grad for p in (model.blocks[0].attn.q.weight,))
    np.testing.assert_allclose(model(ids).data, before, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rank", [0, 5])
def test_a_rank_that_does_not_fit_is_refused(rank):
    with pytest.raises(ValueError, match=rf"rank {rank} is not in 1\.\.4"):
        LoRALinear(Linear(5, 4, rng=rng), rank, 1, rng)


def test_a_name_that_no_layer_has_is_refused():
    with pytest.raises(ValueError, match="no linear layer named nose"):
        add_lora(Decoder(CONFIG, rng), {"nose"}, 2, 2, rng)

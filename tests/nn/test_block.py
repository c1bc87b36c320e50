import numpy as np
import pytest

from minivlm.gradcheck import gradcheck
from minivlm.nn.block import Block
from minivlm.nn.multihead import MultiHead
from minivlm.tensor import Tensor


def tokens(rng, *shape):
    return Tensor(rng.standard_normal(shape), requires_grad=True)


def test_width_must_be_a_multiple_of_heads():
    with pytest.raises(ValueError, match="width 10 is not a multiple of heads 4"):
        MultiHead(10, 4, rng=np.random.default_rng(0))


def test_merge_undoes_split():
    rng = np.random.default_rng(0)
    layer, x = MultiHead(12, 3, rng=rng), tokens(rng, 2, 5, 12)
    heads = layer.split(x)
    assert heads.shape == (2, 3, 5, 4)
    assert np.array_equal(heads.data[1, 2, 4], x.data[1, 4, 8:])
    assert np.array_equal(layer.merge(heads).data, x.data)


@pytest.mark.parametrize("causal", [False, True])
def test_weights_for_pictures_are_those_that_attention_uses(causal):
    rng = np.random.default_rng(0)
    layer = MultiHead(8, 2, causal=causal, rng=rng).astype(np.float64)
    x = tokens(rng, 2, 5, 8)
    P = layer.weights(x)
    mixed = layer.out(layer.merge(Tensor(P @ layer.split(layer.v(x)).data)))
    np.testing.assert_allclose(P.sum(-1), 1, rtol=1e-12)
    np.testing.assert_allclose(mixed.data, layer(x, x).data, rtol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_a_block_at_one_position_is_the_whole_block_read_there(causal):
    rng = np.random.default_rng(0)
    block = Block(8, 2, depth=2, causal=causal, rng=rng).astype(np.float64)
    x, at = tokens(rng, 3, 6, 8), np.array([0, 3, 5])
    whole = block(x)[np.arange(3), at]
    np.testing.assert_allclose(block.at(x, at).data, whole.data, rtol=1e-12)

    weight = rng.standard_normal(whole.shape)
    (whole * weight).sum().backward()
    expected = {name: p.grad for name, p in block.named_parameters().items()} | {"x": x.grad}
    for p in [*block.parameters(), x]:
        p.grad = None
    (block.at(x, at) * weight).sum().backward()
    got = {name: p.grad for name, p in block.named_parameters().items()} | {"x": x.grad}
    for name, grad in expected.items():
        np.testing.assert_allclose(got[name], grad, rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_causal_block_does_not_look_ahead():
    rng = np.random.default_rng(0)
    block = Block(8, 2, depth=1, causal=True, rng=rng)
    x = rng.standard_normal((1, 6, 8), np.float32)
    changed = x.copy()
    changed[:, 4:] += 1
    before, after = block(Tensor(x)).data, block(Tensor(changed)).data
    assert np.array_equal(before[:, :4], after[:, :4])
    assert not np.allclose(before[:, 4:], after[:, 4:])


def test_the_gradient_of_a_block_is_its_slope():
    rng = np.random.default_rng(0)
    block = Block(6, 3, depth=1, causal=True, activation="gelu", rng=rng).astype(np.float64)
    parameters = block.parameters()
    gradcheck(lambda x, *_: block(x), tokens(rng, 2, 4, 6), *parameters, rng=rng)

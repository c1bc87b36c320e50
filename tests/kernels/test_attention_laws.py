"""What must hold of any attention, whoever computes it."""

import numpy as np

from minivlm_kernels.attention import a4_flash_backward
from tests.kernels import oracles
from tests.kernels.numba_attention import (
    backward,
    every_rung,
    forward,
    forward_rungs,
    results,
    some,
)


@forward_rungs
def test_a_mean_of_ones_is_one(rung):
    q, k, v, _ = some()
    o, _ = forward(rung, 9 * q, k, np.ones_like(v), causal=True)
    np.testing.assert_allclose(o, 1, rtol=1e-6)


@forward_rungs
def test_what_all_scores_gain_goes_into_lse_and_leaves_o(rung):
    q, k, v, _ = some()
    o, lse = forward(rung, q, k, v, scale=0.5)
    more_q = np.concatenate([q, np.ones_like(q[..., :1])], -1)
    more_k = np.concatenate([k, np.full_like(k[..., :1], 6)], -1)
    more_v = np.concatenate([v, np.zeros_like(v[..., :1])], -1)
    more_o, more_lse = forward(rung, more_q, more_k, more_v, scale=0.5)
    np.testing.assert_allclose(more_o[..., :-1], o, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(more_lse, lse + 3, rtol=2e-6)


def test_gradients_go_with_the_scale():
    q, k, v, do = some(C=4)
    padded = (np.concatenate([x, np.zeros_like(x)], -1) for x in (q, k, v, do))
    got = backward(a4_flash_backward, *padded, causal=True, scale=0.5)
    right = oracles.attention_gradients(q, k, v, do, None, True)
    for ours, theirs in zip(got, right, strict=True):
        assert oracles.relative_error(ours[..., :4], theirs) < 1e-5
        np.testing.assert_array_equal(ours[..., 4:], 0)


@forward_rungs
def test_the_order_of_keys_does_not_matter(rung):
    q, k, v, _ = some()
    mask = np.arange(9) % 4 > 0
    order = np.random.default_rng(1).permutation(9)
    o, lse = forward(rung, q, k, v, mask)
    o_again, lse_again = forward(rung, q, k[:, :, order].copy(), v[:, :, order].copy(), mask[order])
    np.testing.assert_allclose(o_again, o, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lse_again, lse, rtol=2e-6)


@forward_rungs
def test_a_key_changes_no_bit_of_the_queries_before_it(rung):
    q, k, v, _ = some(T=9)
    o, lse = forward(rung, q, k, v, causal=True)
    k[:, :, 5] = v[:, :, 5] = 1e30  # not NaN, which a weight of 0 does not hide
    o_again, lse_again = forward(rung, q, k, v, causal=True)
    np.testing.assert_array_equal(o_again[:, :, :5], o[:, :, :5])
    np.testing.assert_array_equal(lse_again[:, :, :5], lse[:, :, :5])
    assert np.all(o_again[:, :, 5:] != o[:, :, 5:])


@every_rung
def test_the_size_of_a_tile_does_not_matter(rung):
    given = some(T=7)
    first, second = (results(rung, *given, tile=tile) for tile in (2, 3))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@every_rung
def test_every_run_gives_the_same_bits(rung):
    given = some(T=7)
    first, second = (results(rung, *given) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@every_rung
def test_grouped_heads_are_heads_whose_keys_are_alike(rung):
    q, k, v, do = some(H=4, G=2, T=3, S=5)
    got = results(rung, q, k, v, do)
    alike = results(rung, q, np.repeat(k, 2, 1), np.repeat(v, 2, 1), do)
    if rung is a4_flash_backward:
        dk, dv = (x.reshape(1, 2, 2, 5, 4).sum(2) for x in alike[1:])  # each head gives its share
        alike = alike[0], dk, dv
    for ours, theirs in zip(got, alike, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_what_all_keys_share_gets_no_gradient_into_queries():
    q, k, v, do = some()
    k[..., 2] = 3  # Σ d_score = 0 in each row
    dq, _, dv = backward(a4_flash_backward, q, k, v, do)
    np.testing.assert_allclose(dq[..., 2], 0, atol=1e-6)
    np.testing.assert_allclose(dv.sum(2), do.sum((1, 2))[:, None], rtol=1e-5)  # weights sum to 1

"""Every op once or more, with shapes to draw, ours beside PyTorch's.

One table serves every test of `test_gradients.py`, and value and gradients against PyTorch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minivlm.ops.activations import gelu, gelu_tanh, quick_gelu, relu, sigmoid, silu, tanh
from minivlm.ops.attention import attention
from minivlm.ops.contrastive import info_nce, sigmoid_pairs
from minivlm.ops.convolve import avg_pool2d, conv2d, patches
from minivlm.ops.linear import linear
from minivlm.ops.lookup import dropout, embedding
from minivlm.ops.losses import cross_entropy
from minivlm.ops.normalize import batch_norm, layer_norm, rms_norm, softmax, unit_length
from minivlm.ops.rotary import rotary
from tests.ops.oracles import (
    F,
    angles,
    attention_with_blind_queries,
    ids,
    kept,
    labels,
    looks_back,
    looks_nowhere,
    padding,
    positives,
    statistics,
    their_attention,
    their_batch_norm_with_statistics,
    their_info_nce,
    their_patches,
    their_rotary,
    their_sigmoid_pairs,
    to_torch,
)


@dataclass(frozen=True)
class Case:
    """An op: ours on Tensors, the oracle's on torch tensors, and shapes for the inputs."""

    name: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    shapes: st.SearchStrategy[list[tuple[int, ...]]]


def like(x, array):
    """A constant where x lives: a NumPy array, or the stand-in for a device's."""
    return np.asarray(array, like=x.data)


def sizes(*bounds):
    """A tuple of numbers, each within its bounds (an int is 1..int)."""
    limits = [b if isinstance(b, tuple) else (1, b) for b in bounds]
    return st.tuples(*(st.integers(*limit) for limit in limits))


any_shape = st.lists(st.integers(1, 4), max_size=3).map(lambda shape: [tuple(shape)])
vectors = sizes(3, 4, (2, 6)).map(lambda n: [n, n[-1:], n[-1:]])

# Attention: batch, query heads, key heads, queries, keys, channels.


def heads(n):
    B, G, R, T, S, C = n
    return [(B, G * R, T, C), (B, G, S, C), (B, G, S, C)]


one_to_one = sizes(2, 3, (1, 1), 5, 5, 4).map(heads)
grouped = sizes(2, 2, 3, 4, 5, 4).map(heads)
no_fewer_keys = sizes(2, 2, 2, 4, (4, 7), 4).map(heads)


def our_batch_norm_with_statistics(x, weight, bias):
    mean, variance = (like(x, s.astype(x.dtype)) for s in statistics(x.shape[1]))
    return batch_norm(x, weight, bias, (mean, variance))


def pooled(n):
    B, C, rows, columns, rest = n
    return [(B, C, 2 * rows + rest, 2 * columns)]


pictures = sizes(2, 3, (4, 6), (4, 6)).map(tuple)
kernels = sizes(3, 3, 3)


def convolution(bias):
    return st.tuples(pictures, kernels).map(
        lambda n: [n[0], (n[1][0], n[0][1], *n[1][1:])] + [(n[1][0],)] * bias
    )


CASES = [
    Case("relu", relu, lambda x: F().relu(x), any_shape),
    Case("sigmoid", sigmoid, lambda x: x.sigmoid(), any_shape),
    Case("tanh", tanh, lambda x: x.tanh(), any_shape),
    Case("silu", silu, lambda x: F().silu(x), any_shape),
    Case("quick_gelu", quick_gelu, lambda x: x * (1.702 * x).sigmoid(), any_shape),
    Case("gelu", gelu, lambda x: F().gelu(x), any_shape),
    Case("gelu_tanh", gelu_tanh, lambda x: F().gelu(x, approximate="tanh"), any_shape),
    Case("softmax", softmax, lambda x: x.softmax(-1), sizes(3, 5).map(lambda n: [n])),
    Case(
        "softmax over axis 0",
        lambda x: softmax(x, axis=0),
        lambda x: x.softmax(0),
        sizes(3, 5).map(lambda n: [n]),
    ),
    Case("layer_norm", layer_norm, lambda x, w, b: F().layer_norm(x, w.shape, w, b), vectors),
    Case(
        "rms_norm",
        rms_norm,
        lambda x, w: F().rms_norm(x, w.shape, w, eps=1e-5),
        vectors.map(lambda shapes: shapes[:2]),
    ),
    Case(
        "batch_norm",
        batch_norm,
        lambda x, w, b: F().batch_norm(x, None, None, w, b, training=True),
        sizes((2, 4), 3, (2, 3), 3).map(lambda n: [n, n[1:2], n[1:2]]),
    ),
    Case(
        "batch_norm with statistics",
        our_batch_norm_with_statistics,
        their_batch_norm_with_statistics,
        sizes(3, 4).map(lambda n: [n, n[1:], n[1:]]),
    ),
    Case(
        "unit_length",
        unit_length,
        lambda x: F().normalize(x, dim=-1),
        sizes(2, 3, (2, 5)).map(lambda n: [n]),
    ),
    Case(
        "linear",
        linear,
        lambda x, w, b: F().linear(x, w, b),
        sizes(2, 3, 4, 5).map(lambda n: [n[:3], (n[3], n[2]), (n[3],)]),
    ),
    Case(
        "linear without bias",
        linear,
        lambda x, w: F().linear(x, w),
        sizes(3, 4, 5).map(lambda n: [n[:2], (n[2], n[1])]),
    ),
    Case("attention", attention, their_attention(), one_to_one),
    Case("attention, grouped queries", attention, their_attention(), grouped),
    Case(
        "attention, causal",
        lambda q, k, v: attention(q, k, v, causal=True),
        their_attention(looks_back),
        no_fewer_keys,
    ),
    Case(
        "attention, padding",
        lambda q, k, v: attention(q, k, v, like(q, padding(q.shape, k.shape))),
        their_attention(padding),
        grouped,
    ),
    Case(
        "attention, causal and padding",
        lambda q, k, v: attention(q, k, v, like(q, padding(q.shape, k.shape)), causal=True),
        their_attention(lambda q, k: padding(q, k) & looks_back(q, k)),
        sizes(2, 2, 2, (1, 1), 6, 4).map(heads),
    ),
    Case(
        "attention, blind queries",
        lambda q, k, v: attention(q, k, v, like(q, looks_nowhere(q.shape, k.shape))),
        attention_with_blind_queries,
        grouped,
    ),
    Case(
        "attention, values of another width",
        attention,
        their_attention(),
        grouped.map(lambda s: [*s[:2], (*s[2][:3], 3)]),
    ),
    Case("conv2d", conv2d, lambda x, w, b: F().conv2d(x, w, b), convolution(bias=True)),
    Case(
        "conv2d, stride and padding",
        lambda x, w: conv2d(x, w, stride=2, padding=1),
        lambda x, w: F().conv2d(x, w, stride=2, padding=1),
        convolution(bias=False),
    ),
    Case(
        "avg_pool2d",
        lambda x: avg_pool2d(x, 2),
        lambda x: F().avg_pool2d(x, 2),
        sizes(2, 2, 3, 3, (0, 1)).map(pooled),
    ),
    Case(
        "patches",
        lambda x: patches(x, 2),
        their_patches,
        sizes(2, 3, 3, 3, (0, 0)).map(pooled),
    ),
    Case(
        "embedding",
        lambda weight: embedding(weight, like(weight, ids(weight.shape))),
        lambda weight: F().embedding(to_torch(ids(weight.shape)), weight),
        sizes(7, 4).map(lambda n: [n]),
    ),
    Case(
        "dropout",
        lambda x: dropout(x, 0.3, np.random.default_rng(0)),
        lambda x: x * to_torch(kept(x.shape)).to(x.dtype),
        sizes(3, 5).map(lambda n: [n]),
    ),
    Case(
        "rotary",
        lambda x: rotary(x, *(like(x, a.astype(x.dtype)) for a in angles(x.shape))),
        their_rotary,
        sizes(2, 2, 4, 3).map(lambda n: [(*n[:3], 2 * n[3])]),
    ),
    Case(
        "cross_entropy",
        lambda x: cross_entropy(x, like(x, labels(x.shape))),
        lambda x: F().cross_entropy(x.flatten(0, -2), to_torch(labels(x.shape)).flatten()),
        sizes(3, 3, 5).map(lambda n: [n]),
    ),
    Case(
        "cross_entropy, smoothed",
        lambda x: cross_entropy(x, like(x, labels(x.shape)), smoothing=0.2),
        lambda x: F().cross_entropy(x, to_torch(labels(x.shape)), label_smoothing=0.2),
        sizes(5, 4).map(lambda n: [n]),
    ),
    Case(
        "info_nce",
        info_nce,
        their_info_nce,
        sizes(5, 4).map(lambda n: [n, n, ()]),
    ),
    Case(
        "info_nce, several positives",
        lambda a, b, s: info_nce(a, b, s, like(a, positives(len(a.data), len(b.data)))),
        lambda a, b, s: their_info_nce(a, b, s, positives(len(a), len(b))),
        sizes(4, 6, 3).map(lambda n: [(n[0], n[2]), (n[1], n[2]), ()]),
    ),
    Case(
        "sigmoid_pairs",
        sigmoid_pairs,
        their_sigmoid_pairs,
        sizes(5, 4).map(lambda n: [n, n, (), ()]),
    ),
    Case(
        "sigmoid_pairs, several positives",
        lambda a, b, s, bias: sigmoid_pairs(
            a, b, s, bias, like(a, positives(len(a.data), len(b.data)))
        ),
        lambda a, b, s, bias: their_sigmoid_pairs(a, b, s, bias, positives(len(a), len(b))),
        sizes(4, 6, 3).map(lambda n: [(n[0], n[2]), (n[1], n[2]), (), ()]),
    ),
]

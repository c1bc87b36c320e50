"""PyTorch's side of each op where it is more than one call, and the constants of both sides.

Masks, labels and the like depend on shapes alone, so that both sides see the same ones. torch is
imported where it is called: without it, the tests that need no oracle still run.
"""

import numpy as np

from minivlm.ops.losses import IGNORE
from minivlm.ops.rotary import rotary_angles


def F():
    import torch.nn.functional

    return torch.nn.functional


def to_torch(array):
    import torch

    return torch.tensor(array)


def padding(shape_q, shape_k):
    """Each text of another length, at least one; (B, 1, 1, S)."""
    B, S = shape_q[0], shape_k[2]
    lengths = 1 + np.arange(B) * 2 % S
    return (np.arange(S) < lengths[:, None])[:, None, None]


def looks_back(shape_q, shape_k):
    """The last query sees all keys, each earlier one a key fewer; (T, S)."""
    T, S = shape_q[2], shape_k[2]
    return np.tri(T, S, S - T, dtype=bool)


def looks_nowhere(shape_q, shape_k):
    """Every third query is blind, and the whole first text; (B, 1, T, S)."""
    B, T, S = shape_q[0], shape_q[2], shape_k[2]
    mask = np.ones((B, 1, T, S), bool)
    mask[0], mask[:, :, ::3] = False, False
    return mask


def attention_with_blind_queries(q, k, v):
    """By hand, for scaled_dot_product_attention has NaN where a query may look nowhere."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    allowed = to_torch(looks_nowhere(q.shape, k.shape))
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~allowed, -1e9)
    return scores.softmax(-1) * allowed @ v


def their_attention(mask=lambda q, k: None):
    def theirs(q, k, v):
        allowed = mask(q.shape, k.shape)
        shape = (*q.shape[:3], k.shape[2])
        allowed = None if allowed is None else to_torch(np.broadcast_to(allowed, shape))
        return F().scaled_dot_product_attention(q, k, v, attn_mask=allowed, enable_gqa=True)

    return theirs


def labels(shape):
    """Choices of which every third is ignored, the first never."""
    count = int(np.prod(shape[:-1]))
    chosen = np.arange(count) * 7 % shape[-1]
    return np.where(np.arange(count) % 3 == 2, IGNORE, chosen).reshape(shape[:-1])


def positives(n, m):
    """At least one for each row and each column, more for some; (N, M)."""
    i, j = np.arange(n)[:, None], np.arange(m)
    return (i % m == j) | (j % n == i) | ((i * j) % 5 == 4)


def their_info_nce(image, text, log_scale, right=None):
    logits = log_scale.exp() * image @ text.T
    right = to_torch(np.eye(len(image)) if right is None else right).to(logits.dtype)
    rows = F().cross_entropy(logits, right / right.sum(1, keepdim=True))
    columns = F().cross_entropy(logits.T, right.T / right.T.sum(1, keepdim=True))
    return (rows + columns) / 2


def their_sigmoid_pairs(image, text, log_scale, bias, right=None):
    right = to_torch(np.eye(len(image)) if right is None else right).to(image.dtype)
    sign = 2 * right - 1  # big_vision's siglip.py
    logits = log_scale.exp() * image @ text.T + bias
    return -F().logsigmoid(sign * logits).sum() / len(image)


def their_rotary(x):
    import torch

    cos, sin = (to_torch(a).to(x.dtype) for a in angles(x.shape))
    cos, sin = torch.cat([cos, cos], -1), torch.cat([sin, sin], -1)
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)  # transformers' rotate_half
    return x * cos + turned * sin


def angles(shape):
    return rotary_angles(np.arange(shape[2]) * 3, shape[3], dtype=np.float64)


def ids(shape):
    return np.arange(6).reshape(2, 3) * 5 % shape[0]


def kept(shape):
    """The factors that dropout draws for rate 0.3 and seed 0."""
    return (np.random.default_rng(0).random(shape, np.float32) >= 0.3) / 0.7


def statistics(D):
    return np.linspace(-1, 1, D), np.linspace(0.5, 2, D)


def their_batch_norm_with_statistics(x, weight, bias):
    mean, variance = (to_torch(s).to(x.dtype) for s in statistics(x.shape[1]))
    return F().batch_norm(x, mean, variance, weight, bias)


def their_patches(x):
    B, C = x.shape[:2]
    squares = F().unfold(x, kernel_size=2, stride=2)  # (B, C·P·P, N)
    return squares.transpose(1, 2).reshape(B, -1, C * 4)

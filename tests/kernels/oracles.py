"""What kernels are held to: the library's own NumPy bodies in float64, and log-sum-exps."""

import math

import numpy as np

from minivlm.ops.attention import attend
from minivlm.ops.contrastive import contrast


def double(array):
    return np.asarray(array).astype(np.float64)


def relative_error(got, expected):
    """Frobenius norm of the difference, relative to the expected array's; NaN where got has one."""
    got, expected = double(got), double(expected)
    return float(np.linalg.norm(got - expected) / max(np.linalg.norm(expected), 1e-30))


def attention(q, k, v, mask=None, causal=False):
    """The outputs and log-sum-exps that are right for these (rounded) inputs, in float64."""
    o, _ = attend.dispatch(object)(double(q), double(k), double(v), mask, causal)
    return o, log_sum_exps(q, k, mask, causal)


def log_sum_exps(q, k, mask=None, causal=False):
    H, T, C, S = *q.shape[1:], k.shape[2]
    keys = np.repeat(double(k), H // k.shape[1], axis=1)
    scores = double(q) @ keys.mT / math.sqrt(C)
    seen = np.tri(T, S, S - T, dtype=bool) if causal else np.ones((T, S), bool)
    scores = np.where(seen if mask is None else seen & mask, scores, -np.inf)
    top = np.maximum(scores.max(-1, initial=-np.inf), -1e300)
    with np.errstate(divide="ignore"):
        return top + np.log(np.exp(scores - top[..., None]).sum(-1))


def attention_gradients(q, k, v, do, mask=None, causal=False):
    """dq, dk and dv in float64."""
    _, backward = attend.dispatch(object)(double(q), double(k), double(v), mask, causal)
    return backward(double(do))


def info_nce(image, text, scale):
    """Nats, log-sum-exps of rows and of columns, d_image, d_text and d_log_scale, in float64."""
    image, text, scale = double(image), double(text), np.float64(scale)
    nats, backward = contrast.dispatch(object)(image, text, scale)
    logits = scale * image @ text.T
    rows = np.logaddexp.reduce(logits, axis=1)
    columns = np.logaddexp.reduce(logits, axis=0)
    return nats, rows, columns, *backward(np.float64(1))

"""How surprised a model is by the right answer, in nats."""

from functools import singledispatch

import numpy as np

from minivlm.ops.lookup import check_ids
from minivlm.ops.normalize import log_sum_exp
from minivlm.tensor import Array, Tensor, Vjp, record

IGNORE = -100  # the label of positions that do not count; PyTorch's number, and so everyone's


def cross_entropy(logits: Tensor, labels: Array, smoothing: float = 0.0) -> Tensor:
    """Mean surprise −log p(label) over the positions whose label is not IGNORE.

    Args:
        logits: one number for each choice (..., V).
        labels: the right choices 0..V-1, or IGNORE, (...).
        smoothing: share of the target that is spread evenly over all choices, 0..1.

    Returns:
        Nats a counted position, (); 0 where none counts.

    Raises:
        ValueError: labels and logits differ in shape, a label is neither IGNORE nor in 0..V-1, or
            smoothing is not in [0, 1].

    Source: label smoothing, Szegedy et al. 2015, arXiv:1512.00567, section 7.
    """
    if labels.shape != logits.shape[:-1]:
        raise ValueError(f"labels {labels.shape} do not fit logits {logits.shape}")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing {smoothing} is not in [0, 1]")
    check_ids("labels", np.where(labels == IGNORE, 0, labels), logits.shape[-1])
    nats, backward = cross_entropy_arrays(logits.data, labels, smoothing)
    return record(nats, (logits, backward))


@singledispatch
def cross_entropy_arrays(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Vjp]:
    """Cross-entropy and its vjp: probabilities minus targets, over the number that count."""
    V = logits.shape[-1]
    counts = labels != IGNORE
    right = np.where(counts, labels, 0)[..., None]  # (..., 1)
    weight = counts / np.maximum(counts.sum(), 1)  # 1 / number that count, or 0
    weight = weight.astype(logits.dtype)[..., None]  # (..., 1)

    log_p = logits - log_sum_exp(logits, -1)  # (..., V)
    nats = (smoothing - 1) * np.take_along_axis(log_p, right, -1)
    if smoothing:
        nats -= smoothing * log_p.mean(-1, keepdims=True)

    def cross_entropy_backward(dy: Array) -> Array:
        d_logits = np.exp(log_p)  # the probabilities
        on_label = np.take_along_axis(d_logits, right, -1) - (1 - smoothing)
        np.put_along_axis(d_logits, right, on_label, -1)
        if smoothing:
            d_logits -= smoothing / V
        d_logits *= weight * dy
        return d_logits

    return (nats * weight).sum(), cross_entropy_backward

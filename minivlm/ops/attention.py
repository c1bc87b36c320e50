"""Scaled dot-product attention: each query takes the mean of the values, weighted by its keys.

`attend` is the seam where GPU kernels plug in; the body here is the specification they are held
to. Masks are made here from T and S alone, so that no one has to hand a causal mask down.

Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
"""

import math
from functools import singledispatch

import numpy as np

from minivlm.device import check_together
from minivlm.tensor import Array, Tensor, Vjp, record


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Array | None = None, causal: bool = False
) -> Tensor:
    """Scaled dot-product attention, softmax(q kᵀ / √C) v.

    Args:
        q: queries (B, H, T, C).
        k: keys (B, G, S, C), where G divides H: each key head serves H/G query heads.
        v: values (B, G, S, C).
        mask: True where a query may look, broadcastable to (B, H, T, S); None means everywhere.
        causal: the last query is aligned with the last key, and none looks ahead of itself.

    Returns:
        One weighted mean of values for each query, (B, H, T, C); zeros for a query that may look
        nowhere.

    Raises:
        ValueError: q and k differ in B or C, k and v in S, the key heads do not divide the heads,
            or they are not all on one device.

    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; grouped queries: Ainslie et al. 2023,
    arXiv:2305.13245.
    """
    check_together(q=q.data, k=k.data, v=v.data)
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"queries have {q.shape[-1]} channels a head, keys {k.shape[-1]}")
    if q.shape[0] != k.shape[0]:
        raise ValueError(f"a batch of {q.shape[0]} queries meets a batch of {k.shape[0]} keys")
    if k.shape[:3] != v.shape[:3]:
        raise ValueError(f"keys {k.shape} and values {v.shape} differ in batch, heads or length")
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"{k.shape[1]} key heads do not divide {q.shape[1]} query heads")
    y, backward = attend(q.data, k.data, v.data, mask, causal)
    return record(y, ((q, k, v), backward))


@singledispatch
def attend(
    Q: Array, K: Array, V: Array, mask: Array | None = None, causal: bool = False
) -> tuple[Array, Vjp]:
    """Attention on arrays and its vjp, which gives dQ, dK and dV."""
    B, H, T, C = Q.shape
    G = K.shape[1]
    R = H // G  # heads that share keys are, to the matrices, more queries of one head
    Q = Q.reshape(B, G, R * T, C) * (1 / math.sqrt(C))  # (B, G, R·T, C)
    P = attention_weights(Q, K, T, mask, causal)  # (B, G, R·T, S)

    def attention_backward(dy: Array) -> tuple[Array, Array, Array]:
        dy = dy.reshape(B, G, R * T, dy.shape[-1])
        dV = P.mT @ dy  # y = P V
        dP = dy @ V.mT
        dS = dP  # P = softmax(S): in place, dS = P (dP − Σ dP P)
        dS -= np.einsum("bgts,bgts->bgt", dP, P)[..., None]
        dS *= P
        dQ = dS @ K  # S = Q Kᵀ / √C
        dQ *= 1 / math.sqrt(C)
        dK = dS.mT @ Q
        return dQ.reshape(B, H, T, C), dK, dV

    return (P @ V).reshape(B, H, T, V.shape[-1]), attention_backward


def attention_weights(
    Q: Array, K: Array, T: int, mask: Array | None = None, causal: bool = False
) -> Array:
    """Where each query looks: the softmax of its products with the keys.

    Args:
        Q: scaled queries (B, G, R·T, C), R heads of T queries for each key head.
        K: keys (B, G, S, C).
        T: the number of query positions.
        mask: True where a query may look, broadcastable to (B, H, T, S).
        causal: see `attention`.

    Returns:
        Weights (B, G, R·T, S); each row sums to 1, or to 0 where it may look nowhere.
    """
    P = Q @ K.mT
    B, G, rows, S = P.shape
    scores = P.reshape(B, G * rows // max(T, 1), T, S)  # the same memory, seen head by head
    if causal:
        scores += np.where(np.tri(T, S, S - T, dtype=bool, like=P), 0.0, -math.inf).astype(P.dtype)
    if mask is not None:
        scores += np.where(mask, 0.0, -math.inf).astype(P.dtype)
    top = P.max(-1, keepdims=True)
    if causal or mask is not None:
        top = np.maximum(top, np.finfo(P.dtype).min)  # a row of −∞ only: −∞ − (−∞) would be NaN
    P -= top
    np.exp(P, out=P)
    P /= np.maximum(P.sum(-1, keepdims=True), 1)  # ≥ 1 already, unless the row looks nowhere
    return P

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
    B, H, T, _ = Q.shape
    G, S = K.shape[1:3]
    P = attention_weights(Q, K, visible(mask, causal, T, S, like=Q))  # (B, H, T, S)
    y = P.reshape(B, G, H // G * T, S) @ V  # one product for the heads that share values
    return y.reshape(B, H, T, V.shape[-1]), lambda dy: attention_backward(dy, P, Q, K, V)


def attention_weights(Q: Array, K: Array, mask: Array | None = None) -> Array:
    """Where each query looks: the softmax over the keys of q kᵀ / √C.

    Args:
        Q: queries (B, H, T, C).
        K: keys (B, G, S, C), where G divides H: R = H/G heads in a row share the keys of one.
        mask: True where a query may look, broadcastable to (B, H, T, S); None means everywhere.

    Returns:
        Weights (B, H, T, S), at least 0; each row sums to 1, or to 0 where it may look nowhere.
    """
    B, H, T, C = Q.shape
    G, S = K.shape[1:3]
    R = H // G  # heads that share keys are, to the matrices, more queries of one head
    P = (Q.reshape(B, G, R * T, C) * (1 / math.sqrt(C))) @ K.mT  # (B, G, R·T, S)
    P = P.reshape(B, H, T, S)
    if mask is not None:
        P += np.where(mask, 0.0, -math.inf).astype(P.dtype)
    top = P.max(-1, keepdims=True)
    if mask is not None:
        top = np.maximum(top, np.finfo(P.dtype).min)  # a row of −∞ only: −∞ − (−∞) would be NaN
    P -= top
    np.exp(P, out=P)
    P /= np.maximum(P.sum(-1, keepdims=True), 1)  # ≥ 1 already, unless the row looks nowhere
    return P


def attention_backward(
    dy: Array, P: Array, Q: Array, K: Array, V: Array
) -> tuple[Array, Array, Array]:
    """The gradients of attention, from the weights that the way forward kept.

    Args:
        dy: dL/dy (B, H, T, C).
        P: weights (B, H, T, S), from `attention_weights`.
        Q: queries (B, H, T, C).
        K: keys (B, G, S, C), where R = H/G heads in a row share the keys of one.
        V: values (B, G, S, C).

    Returns:
        dQ (B, H, T, C), dK (B, G, S, C) and dV (B, G, S, C); dK and dV are sums over the heads
        that share them.
    """
    B, H, T, S = P.shape
    G, C = K.shape[1], K.shape[3]
    rows = H // G * T  # R·T, the queries that look at one key head
    dy = dy.reshape(B, G, rows, V.shape[-1])
    P = P.reshape(B, G, rows, S)
    dV = P.mT @ dy  # y = P V
    dP = dy @ V.mT
    dS = dP  # P = softmax(S): in place, dS = P (dP − Σ dP P)
    dS -= np.einsum("bgts,bgts->bgt", dP, P)[..., None]
    dS *= P
    dQ = dS @ K  # S = Q Kᵀ / √C
    dQ *= 1 / math.sqrt(C)
    dK = dS.mT @ (Q.reshape(B, G, rows, C) * (1 / math.sqrt(C)))
    return dQ.reshape(Q.shape), dK, dV


def visible(mask: Array | None, causal: bool, T: int, S: int, like: Array) -> Array | None:
    """The mask and causality in one: True where a query may look; None means everywhere."""
    if not causal:
        return mask
    back = causal_mask(T, S, like)
    return back if mask is None else mask & back


def causal_mask(T: int, S: int, like: Array) -> Array:
    """True where a query may look without seeing what comes after it.

    Args:
        T: the number of queries.
        S: the number of keys. The last query stands at the last key: with T < S, as when a text
            is continued, the first query already sees S − T + 1 keys; with T > S, the first T − S
            queries stand before all keys and see none.
        like: an array on whose device the mask is to be; its values do not matter.

    Returns:
        Booleans (T, S). A query sees the key at its own place.
    """
    return np.tri(T, S, S - T, dtype=bool, like=like)

"""What a rung asks of the arrays it is given, each refusal one sentence.

A rung never copies, casts or moves what it was given. The seams (`seams.py`) do so where it helps.
"""

from __future__ import annotations

import numpy as np

from minivlm.device import device_of
from minivlm.tensor import Array
from minivlm_kernels.arrays import F32


def check_devices(rung: str, **arrays: Array) -> None:
    """All on one device.

    Raises:
        ValueError: one is not; the sentence names it.
    """
    first, home = next(iter(arrays)), device_of(next(iter(arrays.values())))
    for name, array in arrays.items():
        if device_of(array) != home:
            raise ValueError(
                f"{rung}: {name} is on {device_of(array)} and {first} on {home}; "
                f"all must be on one device"
            )


def check_arrays(rung: str, dtype: np.dtype, **arrays: Array) -> None:
    """One dtype, one device, contiguous.

    Raises:
        ValueError: an array differs; the sentence names it, what was given and what is supported.
    """
    check_devices(rung, **arrays)
    for name, array in arrays.items():
        if array.dtype != dtype:
            raise ValueError(f"{rung} takes {dtype} arrays, and {name} is {array.dtype}")
        if not array.flags.c_contiguous:
            raise ValueError(
                f"{rung} takes contiguous arrays, and {name} {array.shape} has strides "
                f"{array.strides}; np.ascontiguousarray copies it"
            )


def check_attention(
    rung: str,
    dtype: np.dtype,
    heads: range,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
) -> tuple[int, int, int, int, int, int]:
    """The sizes B, H, G, T, S, C of an attention that the rung can run.

    Args:
        rung: its name, for the sentence.
        dtype: what q, k and v must hold.
        heads: the head sizes C that the rung supports.
        q: queries (B, H, T, C).
        k: keys (B, G, S, C).
        v: values (B, G, S, C).
        mask: booleans, broadcastable to (B, H, T, S).

    Raises:
        ValueError: shapes do not fit, or the rung does not support what was given.
    """
    check_arrays(rung, dtype, q=q, k=k, v=v)
    if q.ndim != 4 or k.ndim != 4 or k.shape != v.shape or q.shape[::3] != k.shape[::3]:
        raise ValueError(
            f"{rung}: q {q.shape}, k {k.shape} and v {v.shape} are not (B, H, T, C) and twice "
            f"(B, G, S, C)"
        )
    B, H, T, C = q.shape
    G, S = k.shape[1:3]
    if H % G:
        raise ValueError(f"{rung}: {G} key heads do not divide {H} query heads")
    if C not in heads:
        raise ValueError(
            f"{rung} takes head sizes {heads.start}, {heads.start + heads.step}, … {heads[-1]}, "
            f"not {C}"
        )
    if mask is not None:
        check_mask(rung, mask, (B, H, T, S), q)
    return B, H, G, T, S, C


def check_forwards(rung: str, dtype: np.dtype, q: Array, o: Array, lse: Array, do: Array) -> None:
    """What a forward pass gave for the queries, and the gradient of its output.

    Args:
        rung: its name, for the sentence.
        dtype: what q, o and do must hold; lse holds float32.
        q: queries (B, H, T, C).
        o: outputs (B, H, T, C).
        lse: log-sum-exps (B, H, T).
        do: the gradient of o, (B, H, T, C).

    Raises:
        ValueError: one differs; the sentence names it.
    """
    check_devices(rung, q=q, o=o, lse=lse, do=do)
    check_arrays(rung, dtype, o=o, do=do)
    check_arrays(rung, F32, lse=lse)
    if o.shape != q.shape or do.shape != q.shape or lse.shape != q.shape[:3]:
        raise ValueError(
            f"{rung}: o {o.shape}, lse {lse.shape} and do {do.shape} are not those of q's forward "
            f"pass: they do not fit q {q.shape}"
        )


def check_mask(rung: str, mask: Array, shape: tuple[int, int, int, int], like: Array) -> None:
    """A mask holds booleans, lies beside the queries and broadcasts to (B, H, T, S)."""
    if device_of(mask) != device_of(like):
        raise ValueError(f"{rung}: the mask is on {device_of(mask)}, q on {device_of(like)}")
    if mask.dtype != np.bool_:
        raise ValueError(f"{rung}: a mask holds booleans, not {mask.dtype}")
    fits = (
        given in (1, wanted) for given, wanted in zip(mask.shape[::-1], shape[::-1], strict=False)
    )
    if mask.ndim > 4 or not all(fits):
        raise ValueError(f"{rung}: a mask {mask.shape} does not broadcast to {shape}")


def check_pairs(rung: str, dtype: np.dtype, image: Array, text: Array) -> tuple[int, int]:
    """The sizes N, E of two sets of embeddings, row n of one beside row n of the other.

    Raises:
        ValueError: shapes do not fit, or the rung does not support what was given.
    """
    check_arrays(rung, dtype, image=image, text=text)
    if image.ndim != 2 or image.shape != text.shape or 0 in image.shape:
        raise ValueError(f"{rung}: image {image.shape} and text {text.shape} are not twice (N, E)")
    return image.shape


def check_product(rung: str, dtype: np.dtype, a: Array, b: Array) -> tuple[int, int, int]:
    """The sizes M, K, N of a product of matrices, (M, K) by (K, N).

    Raises:
        ValueError: shapes do not fit, or the rung does not support what was given.
    """
    check_arrays(rung, dtype, a=a, b=b)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0] or 0 in a.shape + b.shape:
        raise ValueError(f"{rung}: a {a.shape} and b {b.shape} are not (M, K) and (K, N)")
    M, K = a.shape
    return M, K, b.shape[1]


def check_embeddings(rung: str, dtype: np.dtype, image: Array, text: Array) -> tuple[int, int, int]:
    """The sizes N, M, E of two sets of embeddings, of which one may have more than the other.

    Raises:
        ValueError: shapes do not fit, or the rung does not support what was given.
    """
    check_arrays(rung, dtype, image=image, text=text)
    sizes = image.shape + text.shape
    if image.ndim != 2 or text.ndim != 2 or sizes[1] != sizes[3] or 0 in sizes:
        raise ValueError(
            f"{rung}: image {image.shape} and text {text.shape} are not (N, E) and (M, E)"
        )
    N, E, M, _ = sizes
    return N, M, E


def check_beside(rung: str, image: Array, shape: tuple[int, ...], **beside: Array) -> None:
    """What lies beside the embeddings, on the same device: float32, contiguous, of one shape.

    Args:
        rung: its name, for the sentence.
        image: the embeddings, which have been checked.
        shape: (1,) for the scale and the bias, (N,) for log-sum-exps.
        **beside: what is to be checked, by name.

    Raises:
        ValueError: an array differs; the sentence names it.
    """
    check_devices(rung, image=image, **beside)
    check_arrays(rung, F32, **beside)
    for name, array in beside.items():
        if array.shape != shape:
            raise ValueError(f"{rung}: {name} has shape {array.shape}, not {shape}")

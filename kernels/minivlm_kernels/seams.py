"""Bodies for minivlm's seams `attend`, `contrast` and `contrast_sigmoid` that call rungs.

A seam may get what a rung refuses: transposed views, float32 where bfloat16 was asked for, head
sizes that are no multiple of 16. Here such arrays are copied, rounded or padded, visibly; a rung
only computes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache

import numpy as np

from minivlm.device import check_together
from minivlm.ops.attention import attend
from minivlm.ops.contrastive import contrast, contrast_sigmoid
from minivlm.tensor import Array, Vjp
from minivlm_kernels.arrays import F32, padded
from minivlm_kernels.rules import (
    REFERENCE,
    Capability,
    Choice,
    Settings,
    choose_attention,
    choose_contrast,
)

NUMBA = ("A1", "A2", "A3", "A4")  # the attention rungs that Numba compiles
HEAD_STEP = 16  # the .cu rungs' head sizes are multiples of a tensor core's 16 columns


class KernelFallback(UserWarning):
    """The reference runs where a rung was hoped for; the message says why."""


def make_attend(settings: Settings) -> Callable[..., tuple[Array, Vjp]]:
    """A body for `attend` that takes rungs by `choose_attention`."""

    def attend_by_rungs(
        Q: Array, K: Array, V: Array, mask: Array | None = None, causal: bool = False
    ) -> tuple[Array, Vjp]:
        check_together(q=Q, k=K, v=V, **({} if mask is None else {"mask": mask}))
        C, T = Q.shape[-1], Q.shape[2]
        choice = choose_attention(Q.dtype, C, T, settings, capability_of(Q))
        if choice.forward == REFERENCE or 0 in Q.shape or 0 in K.shape:
            return _by_reference(attend.dispatch(object), choice, Q, K, V, mask, causal)
        shapes = f"attention of q {Q.shape} and k {K.shape} by {choice.forward}"
        forward, backward = attention_rung(choice.forward), attention_rung(choice.backward)
        scale = 1 / math.sqrt(C)
        q, k, v = (_head(x, choice) for x in (Q, K, V))
        with _told_when_full(shapes, Q):
            o, lse = forward(q, k, v, mask, causal, scale=scale)

        def attend_by_rungs_backward(dy: Array) -> tuple[Array, ...]:
            with _told_when_full(shapes, Q):
                do = _head(dy, choice)
                gradients = backward(q, k, v, o, lse, do, mask, causal, scale=scale)
            return tuple(d[..., :C].astype(Q.dtype, copy=False) for d in gradients)

        return o[..., :C].astype(Q.dtype, copy=False), attend_by_rungs_backward

    return attend_by_rungs


def make_contrast(settings: Settings) -> Callable[..., tuple[Array, Vjp]]:
    """A body for `contrast` that takes rungs by `choose_contrast`."""

    def contrast_by_rungs(
        image: Array, text: Array, scale: Array, positives: Array | None = None
    ) -> tuple[Array, Vjp]:
        choice = _choice_of_contrast(image, text, positives, settings)
        if choice.forward == REFERENCE:
            reference = contrast.dispatch(object)
            return _by_reference(reference, choice, image, text, scale, positives)
        forward, backward = contrastive_rungs(choice.forward, sigmoid=False)
        img, txt, one_scale = _rows(image, choice), _rows(text, choice), _one(scale)
        shapes = f"the contrastive loss of {image.shape} by {choice.forward}"
        with _told_when_full(shapes, image):
            nats, row_lse, col_lse = forward(img, txt, one_scale)

        def contrast_by_rungs_backward(dy: Array) -> tuple[Array, ...]:
            with _told_when_full(shapes, image):
                gradients = backward(img, txt, one_scale, row_lse, col_lse)
            return _times(dy, gradients, image)

        return nats.astype(image.dtype, copy=False), contrast_by_rungs_backward

    return contrast_by_rungs


def make_contrast_sigmoid(settings: Settings) -> Callable[..., tuple[Array, Vjp]]:
    """A body for `contrast_sigmoid` that takes rungs by `choose_contrast`."""

    def sigmoid_by_rungs(
        image: Array, text: Array, scale: Array, bias: Array, positives: Array | None = None
    ) -> tuple[Array, Vjp]:
        choice = _choice_of_contrast(image, text, positives, settings)
        if choice.forward == REFERENCE:
            reference = contrast_sigmoid.dispatch(object)
            return _by_reference(reference, choice, image, text, scale, bias, positives)
        forward, backward = contrastive_rungs(choice.forward, sigmoid=True)
        img, txt = _rows(image, choice), _rows(text, choice)
        one_scale, one_bias = _one(scale), _one(bias)
        shapes = f"the sigmoid loss of {image.shape} by {choice.forward}"
        with _told_when_full(shapes, image):
            nats = forward(img, txt, one_scale, one_bias)

        def sigmoid_by_rungs_backward(dy: Array) -> tuple[Array, ...]:
            with _told_when_full(shapes, image):
                gradients = backward(img, txt, one_scale, one_bias)
            return _times(dy, gradients, image)

        return nats.astype(image.dtype, copy=False), sigmoid_by_rungs_backward

    return sigmoid_by_rungs


@cache
def attention_rung(name: str) -> Callable:
    """The function of an attention rung, imported when it is first asked for."""
    if name in NUMBA:
        from minivlm_kernels.attention import a1_naive, a2_tiled, a3_flash, a4_flash_backward

        return {
            "A1": a1_naive.forward,
            "A2": a2_tiled.forward,
            "A3": a3_flash.forward,
            "A4": a4_flash_backward.backward,
        }[name]
    from minivlm_kernels.attention import cuda

    return {
        "A5": cuda.forward_register_tiles,
        "A6": cuda.forward_tensor_cores,
        "A7": cuda.forward_pipelined,
        "A8": cuda.backward_tensor_cores,
    }[name]


@cache
def contrastive_rungs(forward: str, sigmoid: bool) -> tuple[Callable, Callable]:
    """Forward and backward of either loss, by the name of the rung that goes forward."""
    if forward == "C1":
        from minivlm_kernels.contrastive import c1_dense as ahead

        back = ahead
    elif forward == "C2":
        from minivlm_kernels.contrastive import c2_streaming as ahead
        from minivlm_kernels.contrastive import c3_streaming_backward as back
    else:
        from minivlm_kernels.contrastive import cuda as ahead

        back = ahead
    if sigmoid:
        return ahead.sigmoid_forward, back.sigmoid_backward
    return ahead.forward, back.backward


def capability_of(array: Array) -> Capability:
    """The compute capability of the GPU that the array is on; None on the host."""
    if isinstance(array, np.ndarray):
        return None
    from minivlm_kernels.cuda.gpu import capability

    return capability()


def _choice_of_contrast(
    image: Array, text: Array, positives: Array | None, settings: Settings
) -> Choice:
    check_together(image=image, text=text)
    diagonal = positives is None
    return choose_contrast(image.dtype, len(image), diagonal, settings, capability_of(image))


def _by_reference(body: Callable, choice: Choice, *arguments) -> tuple[Array, Vjp]:
    """minivlm's own body; where a rung was hoped for, the user is told, once for each reason."""
    if choice.fallback:
        _warn_once(choice.why)
    dtype = choice.dtype
    if dtype is None:
        return body(*arguments)
    given = arguments[0].dtype
    value, backward = body(*(_cast(x, dtype) for x in arguments))

    def reference_backward(dy: Array) -> tuple[Array, ...]:
        gradients = backward(_cast(dy, dtype))
        return tuple(d.astype(given, copy=False) for d in gradients)

    return value.astype(given, copy=False), reference_backward


@lru_cache(maxsize=64)
def _warn_once(why: str) -> None:
    warnings.warn(f"{why}; the NumPy reference runs instead", KernelFallback, stacklevel=4)


def _cast(x, dtype: np.dtype):
    """Floating-point arrays become `dtype`; masks, flags and None stay."""
    if getattr(x, "dtype", None) is None or x.dtype == np.bool_:
        return x
    return x.astype(dtype, copy=False)


def _head(x: Array, choice: Choice) -> Array:
    """Contiguous, of the choice's dtype, with channels that a rung takes."""
    assert choice.dtype is not None  # only the reference takes arrays as they are
    return np.ascontiguousarray(padded(x, HEAD_STEP, choice.dtype))


def _rows(x: Array, choice: Choice) -> Array:
    return np.ascontiguousarray(x.astype(choice.dtype, copy=False))


def _one(x: Array) -> Array:
    """A number on the device, as an array of one element that a kernel can point to."""
    return np.ascontiguousarray(x.astype(F32, copy=False).reshape(1))


def _times(dy: Array, gradients: tuple[Array, ...], like: Array) -> tuple[Array, ...]:
    """Each gradient of the loss times dy, a number on the device, in the dtype of the inputs."""
    return tuple((d * dy.astype(F32, copy=False)).astype(like.dtype, copy=False) for d in gradients)


@contextmanager
def _told_when_full(what: str, like: Array) -> Iterator[None]:
    """Too little memory on the device is told with the shapes, and the device stays usable."""
    try:
        yield
    except MemoryError as error:
        if not isinstance(like, np.ndarray):
            from minivlm_kernels.cuda.gpu import free_memory

            free_memory()
        raise MemoryError(f"{what} does not fit: {error}") from None

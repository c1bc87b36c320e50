"""Putting numbers on a common scale: probabilities, unit variance, unit length.

Every gradient here has the same shape of argument. The normalised value does not change when x
moves in some directions (a shift, a stretch), so the gradient has no part in those directions:
take them out of dy, and divide by what x was divided by.
"""

from functools import singledispatch

import numpy as np

from minivlm.tensor import Array, Tensor, Vjp, record


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Positive weights that sum to 1 along `axis`: eˣ / Σ eˣ.

    Args:
        x: logits, any shape.
        axis: the axis of the choices.

    Returns:
        Probabilities, the shape of x.
    """
    y, dx = softmax_arrays(x.data, axis)
    return record(y, (x, dx))


@singledispatch
def softmax_arrays(x: Array, axis: int) -> tuple[Array, Vjp]:
    """Softmax and its vjp: adding a constant to x changes nothing, so dx sums to 0 along axis."""
    y = np.exp(x - x.max(axis, keepdims=True))  # shifted, so that exp cannot overflow
    y /= y.sum(axis, keepdims=True)

    def softmax_dx(dy: Array) -> Array:
        return y * (dy - (dy * y).sum(axis, keepdims=True))

    return y, softmax_dx


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Shift and scale each feature vector to mean 0 and variance 1, then apply weight and bias.

    Args:
        x: feature vectors (..., D).
        weight: gain for each feature (D,).
        bias: offset for each feature (D,).
        eps: added to the variance, so that a constant vector is no division by zero.

    Returns:
        The shape of x.

    Raises:
        ValueError: weight or bias is not (D,).

    Source: Ba et al. 2016, arXiv:1607.06450, eq. 4.
    """
    _check_gain(x.shape[-1], weight, bias)
    y, (dx, d_weight, d_bias) = layer_norm_arrays(x.data, weight.data, bias.data, eps)
    return record(y, (x, dx), (weight, d_weight), (bias, d_bias))


@singledispatch
def layer_norm_arrays(
    x: Array, weight: Array, bias: Array, eps: float
) -> tuple[Array, tuple[Vjp, Vjp, Vjp]]:
    """Layer norm and its three vjps."""
    D = x.shape[-1]
    unit = x - x.mean(-1, keepdims=True)  # (..., D)
    variance = np.einsum("...d,...d->...", unit, unit)[..., None] / D
    rstd = 1 / np.sqrt(variance + eps)  # (..., 1)
    unit *= rstd

    def layer_norm_dx(dy: Array) -> Array:
        # Moving x along 1, or along `unit`, leaves `unit` as it is: take both directions out.
        dx = dy * weight  # (..., D)
        along_unit = np.einsum("...d,...d->...", dx, unit)[..., None] / D  # (..., 1)
        dx -= dx.mean(-1, keepdims=True)
        dx -= unit * along_unit
        dx *= rstd
        return dx

    def layer_norm_d_weight(dy: Array) -> Array:
        return (dy * unit).reshape(-1, D).sum(0)

    def layer_norm_d_bias(dy: Array) -> Array:
        return dy.reshape(-1, D).sum(0)

    y = unit * weight  # (..., D)
    y += bias
    return y, (layer_norm_dx, layer_norm_d_weight, layer_norm_d_bias)


def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Scale each feature vector to mean square 1, then apply weight: layer norm without the mean.

    Args:
        x: feature vectors (..., D).
        weight: gain for each feature (D,).
        eps: added to the mean square.

    Returns:
        The shape of x.

    Raises:
        ValueError: weight is not (D,).

    Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.
    """
    _check_gain(x.shape[-1], weight)
    gain, D = weight.data, x.shape[-1]
    square = np.einsum("...d,...d->...", x.data, x.data)[..., None] / D
    scale = 1 / np.sqrt(square + eps)  # (..., 1)
    unit = x.data * scale  # (..., D)

    def rms_norm_dx(dy: Array) -> Array:
        g = dy * gain  # (..., D)
        return scale * (g - unit * (g * unit).mean(-1, keepdims=True))

    def rms_norm_d_weight(dy: Array) -> Array:
        return (dy * unit).reshape(-1, D).sum(0)

    return record(unit * gain, (x, rms_norm_dx), (weight, rms_norm_d_weight))


def batch_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    statistics: tuple[Array, Array] | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Shift and scale each channel by its mean and variance, then apply weight and bias.

    Args:
        x: features (B, D, ...), channels second.
        weight: gain for each channel (D,).
        bias: offset for each channel (D,).
        statistics: mean (D,) and variance (D,) collected earlier, then constants; None takes
            those of this batch, through which the gradient flows.
        eps: added to the variance.

    Returns:
        The shape of x.

    Raises:
        ValueError: weight or bias is not (D,).

    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1.
    """
    _check_gain(x.shape[1], weight, bias)
    over = tuple(i for i in range(x.ndim) if i != 1)
    per_channel = (-1, *(1,) * (x.ndim - 2))  # aligns (D,) with the axes of x
    mean, variance = batch_statistics(x.data) if statistics is None else statistics
    rstd = (1 / np.sqrt(variance + eps)).reshape(per_channel)
    unit = (x.data - mean.reshape(per_channel)) * rstd  # (B, D, ...)
    gain = weight.data.reshape(per_channel)

    def batch_norm_dx(dy: Array) -> Array:
        g = dy * gain
        if statistics is not None:
            return g * rstd
        along_unit = (g * unit).mean(over, keepdims=True)
        return rstd * (g - g.mean(over, keepdims=True) - unit * along_unit)

    return record(
        unit * gain + bias.data.reshape(per_channel),
        (x, batch_norm_dx),
        (weight, lambda dy: (dy * unit).sum(over)),
        (bias, lambda dy: dy.sum(over)),
    )


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """The mean (D,) and variance (D,) of each channel of x (B, D, ...)."""
    over = tuple(i for i in range(x.ndim) if i != 1)
    return x.mean(over), x.var(over)


def unit_length(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Each vector divided by its length, so that products of two are cosines.

    Args:
        x: vectors (..., E).
        eps: the least length divided by; a zero vector stays zero.

    Returns:
        Vectors of length 1, the shape of x.

    Raises:
        ValueError: x is a single number, which has no axis to be a vector along.
    """
    if not x.ndim:
        raise ValueError("a number has no axis along which it could have unit length")
    length = np.sqrt((x.data * x.data).sum(-1, keepdims=True))  # (..., 1)
    length = np.maximum(length, eps)
    y = x.data / length

    def unit_length_dx(dy: Array) -> Array:
        # Stretching x changes nothing: take out the part of dy along y.
        return (dy - y * (dy * y).sum(-1, keepdims=True)) / length

    return record(y, (x, unit_length_dx))


def log_sum_exp(x: Array, axis: int) -> Array:
    """The logarithm of Σ eˣ along `axis`, which stays with length 1; on arrays."""
    top = x.max(axis, keepdims=True)
    return top + np.log(np.exp(x - top).sum(axis, keepdims=True))


def _check_gain(features: int, *gains: Tensor) -> None:
    for gain in gains:
        if gain.shape != (features,):
            raise ValueError(f"{features} features meet a weight of shape {gain.shape}")

"""The bends in the network: each maps an element to an element, and knows its own slope.

The GELUs are the ones published models use: CLIP's quick one, SigLIP's tanh one, the exact one.
Their array halves are seams (`architecture.md`): faster bodies may be registered for a type.
"""

import math
from functools import singledispatch

import numpy as np
from scipy.special import erf

from minivlm.tensor import Array, Tensor, Vjp, record


def relu(x: Tensor) -> Tensor:
    """max(x, 0), for x of any shape.

    Source: Nair & Hinton 2010.
    """
    y = np.maximum(x.data, 0)
    return record(y, (x, lambda dy: dy * (y > 0)))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e⁻ˣ), for x of any shape; between 0 and 1."""
    y = logistic(x.data)
    return record(y, (x, lambda dy: dy * y * (1 - y)))


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent, for x of any shape; between -1 and 1."""
    y = np.tanh(x.data)
    return record(y, (x, lambda dy: dy * (1 - y * y)))


def silu(x: Tensor) -> Tensor:
    """x σ(x), for x of any shape: Llama's activation, also called swish.

    Source: Elfwing et al. 2017, arXiv:1702.03118.
    """
    y, dx = swish_arrays(x.data, 1.0)
    return record(y, (x, dx))


def quick_gelu(x: Tensor) -> Tensor:
    """x σ(1.702 x), for x of any shape: the approximation that OpenAI's CLIP was trained with.

    Source: openai/CLIP, clip/model.py; Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2.
    """
    y, dx = swish_arrays(x.data, 1.702)
    return record(y, (x, dx))


def gelu(x: Tensor) -> Tensor:
    """x Φ(x) with Φ the normal distribution function, for x of any shape.

    Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """
    y, dx = gelu_arrays(x.data)
    return record(y, (x, dx))


def gelu_tanh(x: Tensor) -> Tensor:
    """The tanh approximation of `gelu`, for x of any shape: SigLIP's and GPT-2's activation.

    Source: Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2.
    """
    y, dx = gelu_tanh_arrays(x.data)
    return record(y, (x, dx))


@singledispatch
def swish_arrays(x: Array, slope: float) -> tuple[Array, Vjp]:
    """x σ(slope·x) and its vjp, which computes σ again: half the memory for one more tanh."""

    def swish_dx(dy: Array) -> Array:
        s = logistic(x, slope)
        dx = 1 - s  # in place from here: σ (1 + slope x (1 − σ)) dy
        dx *= x
        dx *= slope
        dx += 1
        dx *= s
        dx *= dy
        return dx

    y = logistic(x, slope)
    y *= x
    return y, swish_dx


@singledispatch
def gelu_arrays(x: Array) -> tuple[Array, Vjp]:
    """x Φ(x) and its vjp: the slope is Φ(x) + x φ(x), with φ the normal density."""

    def normal_distribution() -> Array:
        return (1 + erf(x * math.sqrt(0.5))) * 0.5

    def gelu_dx(dy: Array) -> Array:
        density = np.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
        return dy * (normal_distribution() + x * density)

    return x * normal_distribution(), gelu_dx


@singledispatch
def gelu_tanh_arrays(x: Array) -> tuple[Array, Vjp]:
    """x (1 + tanh u) / 2 with u = √(2/π) (x + 0.044715 x³), and its vjp."""
    a, b = math.sqrt(2 / math.pi), 0.044715

    def tanh_u() -> Array:
        return np.tanh(a * (x + b * x * x * x))

    def gelu_tanh_dx(dy: Array) -> Array:
        t = tanh_u()
        du = a * (1 + 3 * b * x * x)
        return dy * 0.5 * (1 + t + x * (1 - t * t) * du)

    return 0.5 * x * (1 + tanh_u()), gelu_tanh_dx


def logistic(x: Array, slope: float = 1.0) -> Array:
    """σ(slope·x) on arrays, as (1 + tanh(slope·x / 2)) / 2: tanh cannot overflow, exp can."""
    s = np.tanh(x * (slope / 2))
    s += 1
    s *= 0.5
    return s

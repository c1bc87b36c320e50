"""The layers that own a parameter or two each, and call the op of the same name."""

import numpy as np

from minivlm.nn.module import Module, parameter
from minivlm.ops.linear import linear
from minivlm.ops.lookup import embedding
from minivlm.ops.normalize import layer_norm, rms_norm
from minivlm.tensor import Array, Tensor


class Linear(Module):
    """x Wᵀ + b from width D to width E; weight (E, D), bias (E,) or None.

    Weights start normal with standard deviation `std`, by default 1/√D; the bias starts at 0.
    """

    def __init__(
        self,
        width: int,
        out: int,
        *,
        bias: bool = True,
        std: float | None = None,
        rng: np.random.Generator,
    ):
        self.weight = parameter(normal((out, width), width**-0.5 if std is None else std, rng))
        self.bias = parameter(np.zeros(out)) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., E)."""
        return linear(x, self.weight, self.bias)


class Embedding(Module):
    """A table of vectors, one for each id; weight (V, D)."""

    def __init__(self, vocabulary: int, width: int, *, std: float = 0.02, rng: np.random.Generator):
        self.weight = parameter(normal((vocabulary, width), std, rng))

    def __call__(self, ids: Array) -> Tensor:
        """Integers (...) -> (..., D)."""
        return embedding(self.weight, ids)


class LayerNorm(Module):
    """Layer norm with weight and bias (D,), which start at 1 and 0."""

    def __init__(self, width: int, eps: float = 1e-5):
        self.weight = parameter(np.ones(width))
        self.bias = parameter(np.zeros(width))
        self.eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """RMS norm with weight (D,), which starts at 1."""

    def __init__(self, width: int, eps: float = 1e-5):
        self.weight = parameter(np.ones(width))
        self.eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return rms_norm(x, self.weight, self.eps)


def normal(shape: tuple[int, ...], std: float, rng: np.random.Generator) -> Array:
    """Normal numbers of mean 0 in float32."""
    return rng.standard_normal(shape, np.float32) * np.float32(std)

"""The transformer block that both towers of CLIP are made of: look around, then think.

Source: pre-norm as in Radford et al. 2021 (openai/CLIP, clip/model.py, ResidualAttentionBlock).
"""

from collections.abc import Callable

import numpy as np

from minivlm.nn.layers import LayerNorm, Linear
from minivlm.nn.module import Module
from minivlm.nn.multihead import MultiHead
from minivlm.ops.activations import gelu, gelu_tanh, quick_gelu
from minivlm.tensor import Array, Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "quick_gelu": quick_gelu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
}


class MLP(Module):
    """Two layers with a bend between them, for each position by itself."""

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: str,
        *,
        out_std: float | None = None,
        rng: np.random.Generator,
    ):
        self.fc1 = Linear(width, hidden, std=(2 * width) ** -0.5, rng=rng)
        self.fc2 = Linear(hidden, width, std=out_std, rng=rng)
        self.activation = ACTIVATIONS[activation]

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(self.activation(self.fc1(x)))


class Block(Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x)).

    Args:
        width: D.
        heads: H.
        depth: blocks in the whole tower: what each adds starts smaller in a deeper one.
        activation: a key of ACTIVATIONS.
        causal: no position looks ahead of itself.
        mlp_ratio: hidden width of the MLP in units of D.
        rng: draws the starting weights.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        depth: int,
        activation: str = "quick_gelu",
        causal: bool = False,
        mlp_ratio: int = 4,
        rng: np.random.Generator,
    ):
        out_std = (2 * depth * width) ** -0.5
        self.norm1 = LayerNorm(width)
        self.attn = MultiHead(width, heads, causal=causal, out_std=out_std, rng=rng)
        self.norm2 = LayerNorm(width)
        self.mlp = MLP(width, mlp_ratio * width, activation, out_std=out_std, rng=rng)

    def __call__(self, x: Tensor, mask: Array | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D); `mask` is True where a position may look, as in `attention`."""
        h = self.norm1(x)
        x = x + self.attn(h, h, mask)
        return x + self.mlp(self.norm2(x))

    def at(self, x: Tensor, positions: Array) -> Tensor:
        """The block's output at one position of each sequence: (B, T, D), (B,) -> (B, D).

        The last block of a tower that reads off a single token need not compute the others:
        every position is still looked at, but only one looks. The result is the same.
        """
        B, T, D = x.shape
        rows = np.arange(B, like=x.data)
        h = self.norm1(x)
        mask = None
        if self.attn.causal:  # (B, 1, 1, T)
            mask = (np.arange(T, like=x.data) <= positions[:, None])[:, None, None]
        one = x[rows, positions].reshape(B, 1, D)
        query = h[rows, positions].reshape(B, 1, D)
        one = one + self.attn(query, h, mask)
        return (one + self.mlp(self.norm2(one))).reshape(B, D)

"""Multi-head attention: heads are split and merged here, and nowhere else."""

import numpy as np

from minivlm.nn.layers import Linear
from minivlm.nn.module import Module
from minivlm.ops.attention import attention, attention_weights, visible
from minivlm.tensor import Array, Tensor, no_grad


class MultiHead(Module):
    """Queries, keys and values by one matrix each, attention in each head, one matrix to mix.

    Args:
        width: D, split evenly over the heads.
        heads: H.
        causal: no position looks ahead of itself.
        out_std: standard deviation of the mixing matrix at the start.
        rng: draws the starting weights.

    Raises:
        ValueError: the width is not a multiple of heads.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        causal: bool = False,
        out_std: float | None = None,
        rng: np.random.Generator,
    ):
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads, self.causal = heads, causal
        self.q = Linear(width, width, rng=rng)
        self.k = Linear(width, width, rng=rng)
        self.v = Linear(width, width, rng=rng)
        self.out = Linear(width, width, std=out_std, rng=rng)

    def __call__(self, x: Tensor, context: Tensor, mask: Array | None = None) -> Tensor:
        """What the positions of x gather from the positions of the context.

        Args:
            x: where the queries come from (B, T, D).
            context: where keys and values come from (B, S, D); x itself for self-attention.
            mask: True where a query may look, broadcastable to (B, H, T, S).

        Returns:
            (B, T, D).
        """
        q, k, v = self.split(self.q(x)), self.split(self.k(context)), self.split(self.v(context))
        return self.out(self.merge(attention(q, k, v, mask, self.causal)))

    def weights(self, x: Tensor, mask: Array | None = None) -> Array:
        """Where each query of x looks, for pictures: (B, H, T, T), rows sum to 1; no gradient."""
        with no_grad():
            q, k = self.split(self.q(x)), self.split(self.k(x))
        T = x.shape[1]
        return attention_weights(q.data, k.data, visible(mask, self.causal, T, T, like=q.data))

    def split(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, C): head h gets the channels h·C to (h + 1)·C of each token."""
        B, T, _ = x.shape
        return x.reshape(B, T, self.heads, -1).transpose(0, 2, 1, 3)

    def merge(self, x: Tensor) -> Tensor:
        """(B, H, T, C) -> (B, T, D): `split` undone."""
        B, _, T, _ = x.shape
        return x.transpose(0, 2, 1, 3).reshape(B, T, -1)

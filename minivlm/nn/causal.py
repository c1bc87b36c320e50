"""A language model's attention: positions as rotations, shared key heads, and a memory.

While a text is written token by token, the keys and values of all earlier tokens stay the same.
`KeyValues` keeps them, so that each new token costs one row of attention, not all rows again.
"""

from __future__ import annotations

import numpy as np

from minivlm.nn.layers import Linear
from minivlm.nn.module import Module
from minivlm.ops.attention import attention, attention_weights, visible
from minivlm.ops.rotary import rotary
from minivlm.tensor import Array, Tensor, no_grad


class KeyValues:
    """The keys and values that one layer has seen, in a buffer that doubles when it is full.

    Attributes:
        length: positions kept so far.
    """

    def __init__(self) -> None:
        self.length = 0
        self._buffers: tuple[Array, Array] | None = None

    def extend(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Keep T more positions, (B, G, T, C) each; all of them so far, (B, G, S, C)."""
        before, self.length = self.length, self.length + keys.shape[2]
        if self._buffers is None or self._buffers[0].shape[2] < self.length:
            self._buffers = (self._grown(0, keys, before), self._grown(1, values, before))
        for buffer, new in zip(self._buffers, (keys, values), strict=True):
            buffer[:, :, before : self.length] = new
        k, v = self._buffers
        return k[:, :, : self.length], v[:, :, : self.length]

    def _grown(self, which: int, new: Array, before: int) -> Array:
        B, G, _, C = new.shape
        buffer = np.empty((B, G, 2 * self.length, C), new.dtype, like=new)
        if self._buffers is not None:
            buffer[:, :, :before] = self._buffers[which][:, :, :before]
        return buffer


class CausalAttention(Module):
    """Rotated queries and keys, grouped heads, no biases, and no look ahead.

    Args:
        width: D, a multiple of heads.
        heads: H, query heads of C = D/H channels.
        key_heads: G, a divisor of H; each serves H/G query heads.
        out_std: standard deviation of the mixing matrix at the start.
        rng: draws the starting weights.

    Source: Touvron et al. 2023, arXiv:2302.13971; grouped: Ainslie et al. 2023, arXiv:2305.13245.
    """

    def __init__(
        self, width: int, heads: int, key_heads: int, *, out_std: float, rng: np.random.Generator
    ):
        if width % heads or heads % key_heads:
            raise ValueError(
                f"width {width}, heads {heads} and key heads {key_heads} do not divide"
            )
        shared = width // heads * key_heads
        self.heads, self.key_heads = heads, key_heads
        self.q = Linear(width, width, bias=False, rng=rng)
        self.k = Linear(width, shared, bias=False, rng=rng)
        self.v = Linear(width, shared, bias=False, rng=rng)
        self.out = Linear(width, width, bias=False, std=out_std, rng=rng)

    def __call__(
        self,
        x: Tensor,
        angles: tuple[Array, Array],
        mask: Array | None = None,
        memory: KeyValues | None = None,
    ) -> Tensor:
        """What each position gathers from itself and those before it.

        Queries, keys and values are made of x and split into heads; queries and keys, not values,
        turn by the angles of their positions. A memory then takes the new keys and values, and
        gives all S that it has; without one, S is T. No query looks ahead of its own position or
        at padding. The heads' results stand side by side again and are mixed by `out`.

        Args:
            x: features (B, T, D).
            angles: cosines and sines of the positions of x, broadcastable to (B, H, T, C/2).
            mask: True where a position is text rather than padding (B, S), those in memory
                included; None where all is text.
            memory: the keys, turned already, and the values of earlier positions, which x
                continues; those of x are added to it. For writing, not for training: no gradient
                flows into what is remembered.

        Returns:
            (B, T, D).
        """
        q = rotary(split_heads(self.q(x), self.heads), *angles)
        k = rotary(split_heads(self.k(x), self.key_heads), *angles)
        v = split_heads(self.v(x), self.key_heads)
        if memory is not None:
            k, v = (Tensor(array) for array in memory.extend(k.data, v.data))
        allowed = None if mask is None else mask[:, None, None]
        y = attention(q, k, v, allowed, causal=True)
        B, _, T, _ = y.shape
        return self.out(y.transpose(0, 2, 1, 3).reshape(B, T, -1))

    def weights(self, x: Tensor, angles: tuple[Array, Array], mask: Array | None = None) -> Array:
        """Where each position of x looks, for pictures: (B, H, T, T), rows sum to 1."""
        with no_grad():
            q = rotary(split_heads(self.q(x), self.heads), *angles)
            k = rotary(split_heads(self.k(x), self.key_heads), *angles)
        allowed = None if mask is None else mask[:, None, None]
        T = x.shape[1]
        return attention_weights(q.data, k.data, visible(allowed, True, T, T, like=q.data))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, H·C) -> (B, H, T, C): each head gets its share of the channels."""
    B, T, _ = x.shape
    return x.reshape(B, T, heads, -1).transpose(0, 2, 1, 3)

"""A language model of Llama's kind: it reads tokens and says which comes next.

Source: Touvron et al. 2023, arXiv:2302.13971, section 2.2; tied embeddings and their scale: Vaswani
et al. 2017, arXiv:1706.03762, section 3.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minivlm.errors import InputError
from minivlm.nn.causal import CausalAttention, KeyValues
from minivlm.nn.layers import Embedding, Linear, RMSNorm
from minivlm.nn.module import Module
from minivlm.ops.activations import silu
from minivlm.ops.linear import linear
from minivlm.ops.rotary import rotary_angles
from minivlm.tensor import Array, Tensor, no_grad


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a language model.

    Attributes:
        vocabulary: V, the number of token ids.
        width: D, a multiple of `heads`.
        heads: query heads.
        key_heads: key and value heads, a divisor of `heads`.
        layers: number of blocks.
        hidden: width inside the MLP.
        context: most positions that it is meant for.
        rope_base: the slowest pair of channels turns once in about 2π·base positions.
        rope_scale: positions are divided by it, to stretch a model to longer texts.
        norm_eps: of every RMS norm.
        tied: the table of embeddings is the output matrix, too.
        scale_embeddings: embeddings are multiplied by √D, which brings a tied table, whose
            entries are about 1/√D, to the size of what the blocks add.
    """

    vocabulary: int
    width: int
    heads: int
    key_heads: int
    layers: int
    hidden: int
    context: int = 2048
    rope_base: float = 10000.0
    rope_scale: float = 1.0
    norm_eps: float = 1e-5
    tied: bool = True
    scale_embeddings: bool = True

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "heads", "key_heads", "layers", "hidden", "context"):
            if getattr(self, name) < 1:
                raise InputError(f"decoder {name} {getattr(self, name)} is not positive")
        if self.width % self.heads:
            raise InputError(f"decoder width {self.width} is not a multiple of heads {self.heads}")
        if self.width // self.heads % 2:
            raise InputError(f"{self.width // self.heads} channels a head cannot turn in pairs")
        if self.heads % self.key_heads:
            raise InputError(f"heads {self.heads} are not a multiple of key heads {self.key_heads}")
        if not (self.rope_base > 0 and self.rope_scale > 0):
            raise InputError(
                f"rope base {self.rope_base} or scale {self.rope_scale} is not positive"
            )


class GatedMLP(Module):
    """down(silu(gate(x)) · up(x)), for each position by itself.

    Source: Shazeer 2020, arXiv:2002.05202 (SwiGLU).
    """

    def __init__(self, width: int, hidden: int, *, out_std: float, rng: np.random.Generator):
        self.gate = Linear(width, hidden, bias=False, rng=rng)
        self.up = Linear(width, hidden, bias=False, rng=rng)
        self.down = Linear(hidden, width, bias=False, std=out_std, rng=rng)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.down(silu(self.gate(x)) * self.up(x))


class DecoderBlock(Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x))."""

    def __init__(self, config: DecoderConfig, rng: np.random.Generator):
        c = config
        self.norm1 = RMSNorm(c.width, c.norm_eps)
        self.attn = CausalAttention(
            c.width, c.heads, c.key_heads, out_std=(2 * c.layers * c.width) ** -0.5, rng=rng
        )
        self.norm2 = RMSNorm(c.width, c.norm_eps)
        out_std = (2 * c.layers * c.hidden) ** -0.5
        self.mlp = GatedMLP(c.width, c.hidden, out_std=out_std, rng=rng)

    def __call__(
        self,
        x: Tensor,
        angles: tuple[Array, Array],
        mask: Array | None = None,
        memory: KeyValues | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D); the arguments are those of `CausalAttention`."""
        x = x + self.attn(self.norm1(x), angles, mask, memory)
        return x + self.mlp(self.norm2(x))


class Decoder(Module):
    """Token ids (B, T) to logits (B, T, V): at each position, for the token that follows."""

    def __init__(self, config: DecoderConfig, rng: np.random.Generator):
        c = self.config = config
        self.tokens = Embedding(c.vocabulary, c.width, std=c.width**-0.5, rng=rng)
        self.blocks = [DecoderBlock(c, rng) for _ in range(c.layers)]
        self.final_norm = RMSNorm(c.width, c.norm_eps)
        self.output = None if c.tied else Linear(c.width, c.vocabulary, bias=False, rng=rng)

    def __call__(
        self, ids: Array, mask: Array | None = None, memory: list[KeyValues] | None = None
    ) -> Tensor:
        """Logits (B, T, V) for ids (B, T).

        Args:
            ids: tokens; with a memory, those that follow the ones it holds.
            mask: True where a position is text rather than padding (B, S), the positions in
                memory included. Padding may stand on the left.
            memory: see `new_memory`.

        Raises:
            ValueError: an id is outside the vocabulary, or the mask is of another length.
        """
        return self.logits(self.features(self.embed(ids), mask, memory))

    def new_memory(self) -> list[KeyValues]:
        """An empty memory, one part a block, to be handed to each call while a text is written."""
        return [KeyValues() for _ in self.blocks]

    def embed(self, ids: Array) -> Tensor:
        """Token ids (B, T) -> embeddings (B, T, D)."""
        V = self.config.vocabulary
        if ids.size and (ids.min() < 0 or ids.max() >= V):
            raise ValueError(f"ids {ids.min()}..{ids.max()} exceed a vocabulary of {V}")
        x = self.tokens(ids)
        return x * math.sqrt(self.config.width) if self.config.scale_embeddings else x

    def features(
        self, x: Tensor, mask: Array | None = None, memory: list[KeyValues] | None = None
    ) -> Tensor:
        """Embeddings (B, T, D), which need not come from tokens, -> features (B, T, D)."""
        T = x.shape[1]
        S = T + (memory[0].length if memory else 0)
        if mask is not None and mask.shape != (len(x), S):
            raise ValueError(f"mask {mask.shape} is not {(len(x), S)}")
        angles = self.angles(T, S, mask, x)
        for i, block in enumerate(self.blocks):
            x = block(x, angles, mask, memory[i] if memory else None)
        return self.final_norm(x)

    def attention_maps(self, x: Tensor) -> list[Array]:
        """Where each position looks in each block, for pictures.

        Args:
            x: embeddings (B, T, D), as `features` takes them.

        Returns:
            For each block the weights of each head, (B, H, T, T); rows sum to 1.
        """
        maps = []
        with no_grad():
            angles = self.angles(x.shape[1], x.shape[1], None, x)
            for block in self.blocks:
                maps.append(block.attn.weights(block.norm1(x), angles))
                x = block(x, angles)
        return maps

    def logits(self, features: Tensor) -> Tensor:
        """Features (..., D) -> logits (..., V)."""
        if self.output is None:
            return linear(features, self.tokens.weight)
        return self.output(features)

    def angles(self, T: int, S: int, mask: Array | None, x: Tensor) -> tuple[Array, Array]:
        """Cosines and sines for the last T of S positions; padding is not counted.

        Args:
            T: how many positions are asked for.
            S: how many there are, those that a memory holds included.
            mask: True where a position is text rather than padding (B, S); None: all is text.
                Padding stands on the left: each text begins at 0, wherever that is, and padding
                itself is at 0, too.
            x: a tensor of the dtype, and on the device, that the angles are to have.

        Returns:
            Two arrays (T, C/2), or (B, 1, T, C/2) with a mask: `rotary_angles` of the positions
            over `rope_scale`, for C = D/heads channels and the config's `rope_base`.
        """
        c = self.config
        if mask is None:
            positions = np.arange(S - T, S, like=x.data)
        else:  # (B, 1, T): the first token of each text is at 0, wherever it stands
            positions = np.maximum(mask.cumsum(-1) - 1, 0)[:, None, S - T :]
        return rotary_angles(
            positions / c.rope_scale, c.width // c.heads, c.rope_base, dtype=x.dtype.type
        )

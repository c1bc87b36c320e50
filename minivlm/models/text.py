"""CLIP's text tower: a causal transformer, read off at the end-of-text token.

Only that token has seen the whole text, so its feature stands for it.

Source: Radford et al. 2021, arXiv:2103.00020, section 2.4; openai/CLIP, clip/model.py, encode_text.
"""

from dataclasses import dataclass

import numpy as np

from minivlm.errors import InputError
from minivlm.nn.block import ACTIVATIONS, Block
from minivlm.nn.layers import Embedding, LayerNorm, normal
from minivlm.nn.module import Module, parameter
from minivlm.tensor import Array, Tensor


@dataclass(frozen=True)
class TextConfig:
    """Sizes of a text tower.

    Attributes:
        vocabulary: V, the number of token ids.
        context: most tokens in a text.
        width: D, a multiple of `heads`.
        heads: attention heads in each block.
        layers: number of blocks.
        end: id of the end-of-text token; what stands after its first occurrence is padding.
        activation: "quick_gelu", "gelu" or "gelu_tanh".
    """

    vocabulary: int
    context: int
    width: int
    heads: int
    layers: int
    end: int
    activation: str = "quick_gelu"

    def __post_init__(self) -> None:
        for name in ("vocabulary", "context", "width", "heads", "layers"):
            if getattr(self, name) < 1:
                raise InputError(f"text {name} {getattr(self, name)} is not positive")
        if self.width % self.heads:
            raise InputError(f"text width {self.width} is not a multiple of heads {self.heads}")
        if not 0 <= self.end < self.vocabulary:
            raise InputError(f"end token {self.end} is not in a vocabulary of {self.vocabulary}")
        if self.activation not in ACTIVATIONS:
            raise InputError(f'activation "{self.activation}" is none of {", ".join(ACTIVATIONS)}')


class TextTransformer(Module):
    """Token ids (B, T) to one feature vector a text (B, D)."""

    def __init__(self, config: TextConfig, rng: np.random.Generator):
        c = self.config = config
        self.tokens = Embedding(c.vocabulary, c.width, std=0.02, rng=rng)
        self.positions = parameter(normal((c.context, c.width), 0.01, rng))
        self.blocks = [
            Block(c.width, c.heads, depth=c.layers, activation=c.activation, causal=True, rng=rng)
            for _ in range(c.layers)
        ]
        self.final_norm = LayerNorm(c.width)

    def __call__(self, ids: Array) -> Tensor:
        """Token ids (B, T), T up to the context, -> features (B, D), after the last norm.

        Raises:
            ValueError: ids are outside the vocabulary, too many, or a row has no end token.
        """
        ends = self.end_positions(ids)
        x = self.embed(ids)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.final_norm(self.blocks[-1].at(x, ends))

    def embed(self, ids: Array) -> Tensor:
        """Token ids (B, T) -> tokens (B, T, D) with their positions."""
        return self.tokens(ids) + self.positions[: ids.shape[1]]

    def end_positions(self, ids: Array) -> Array:
        """Where each row of ids (B, T) ends: (B,).

        Raises:
            ValueError: see `__call__`. Checked here, for a GPU would wrap a wrong id in silence.
        """
        T, V = ids.shape[1], self.config.vocabulary
        if self.config.context < T:
            raise ValueError(f"{T} tokens exceed the context of {self.config.context}")
        if ids.size and (ids.min() < 0 or ids.max() >= V):
            raise ValueError(f"ids {ids.min()}..{ids.max()} exceed a vocabulary of {V}")
        is_end = ids == self.config.end
        if not is_end.any(1).all():
            raise ValueError(f"a text has no end token {self.config.end}")
        return is_end.argmax(1)

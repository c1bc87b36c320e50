"""From what the eye gives to what the language model reads: patch features become soft words.

Three ways: one matrix (LLaVA), two with a bend between (LLaVA 1.5), or a few latents that look at
all patches (Flamingo). In front of each, neighbouring patches may be merged, for every token that
is saved here is saved in each block of the language model.

Sources: Liu et al. 2023, arXiv:2304.08485 and arXiv:2310.03744; Alayrac et al. 2022,
arXiv:2204.14198, section 3.1.1; pixel shuffle as in huggingface/nanoVLM, modality_projector.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivlm.errors import InputError
from minivlm.nn.block import MLP
from minivlm.nn.layers import LayerNorm, Linear, RMSNorm, normal
from minivlm.nn.module import Module, parameter
from minivlm.nn.multihead import MultiHead
from minivlm.ops.activations import gelu
from minivlm.ops.join import concatenate
from minivlm.tensor import Tensor

KINDS = ("linear", "mlp", "perceiver")
POSITION_STD = (
    0.5  # beside soft words of size 1: with .02, two things' places were never told apart
)


@dataclass(frozen=True)
class ProjectorConfig:
    """How patches become soft words.

    Attributes:
        kind: one of KINDS.
        inputs: width of a patch's features.
        width: D of the language model.
        grid: patches on a side of the picture.
        shuffle: r; each r × r patches are joined into one vector, r² times as wide.
        pool: r; each r × r patches are averaged.
        norm: soft words are brought to an even size by an RMS norm.
        positions: a learned vector is added to each soft word, so that what is copied from it
            tells where it was.
        latents: soft words of a perceiver.
        layers: blocks of a perceiver.
        heads: attention heads of a perceiver, a divisor of `width`.
    """

    kind: str
    inputs: int
    width: int
    grid: int
    shuffle: int = 1
    pool: int = 1
    norm: bool = False
    positions: bool = False
    latents: int = 16
    layers: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f'projector "{self.kind}" is none of {", ".join(KINDS)}')
        for name in ("inputs", "width", "grid", "shuffle", "pool", "latents", "layers", "heads"):
            if getattr(self, name) < 1:
                raise InputError(f"projector {name} {getattr(self, name)} is not positive")
        if self.shuffle > 1 and self.pool > 1:
            raise InputError("a projector either shuffles or pools, not both")
        if self.grid % (self.shuffle * self.pool):
            merged = self.shuffle * self.pool
            raise InputError(f"{merged}×{merged} patches do not tile a grid of side {self.grid}")
        if self.kind == "perceiver" and self.width % self.heads:
            raise InputError(
                f"projector width {self.width} is not a multiple of {self.heads} heads"
            )

    @property
    def tokens(self) -> int:
        """M, the soft words that a picture becomes: `image_tokens` of the data."""
        if self.kind == "perceiver":
            return self.latents
        return (self.grid // (self.shuffle * self.pool)) ** 2


class Projector(Module):
    """Patch features (B, N, inputs) to soft words (B, M, D)."""

    def __init__(self, config: ProjectorConfig, rng: np.random.Generator):
        c = self.config = config
        inputs = c.inputs * c.shuffle**2
        self.first = Linear(inputs, c.width, rng=rng)
        self.second = Linear(c.width, c.width, rng=rng) if c.kind == "mlp" else None
        self.resampler = Resampler(c, rng) if c.kind == "perceiver" else None
        self.norm = RMSNorm(c.width) if c.norm else None
        places = normal((c.tokens, c.width), POSITION_STD, rng)
        self.positions = parameter(places) if c.positions else None

    def __call__(self, x: Tensor) -> Tensor:
        """What the language model reads of pictures.

        In this order: r × r neighbours are merged by `pixel_shuffle`, if `shuffle` is above 1, or
        by `pooled`, if `pool` is; `first`, a linear layer; in an "mlp", a GELU and `second`; in a
        "perceiver", the `resampler`; the `norm` and the `positions`, where they are not None.

        Args:
            x: patch features (B, N, inputs), N = grid², without a class token.

        Returns:
            Soft words (B, M, D).

        Raises:
            ValueError: x is not (B, grid², inputs).
        """
        c = self.config
        if x.shape[1:] != (c.grid**2, c.inputs):
            raise ValueError(f"patch features {x.shape} are not (B, {c.grid**2}, {c.inputs})")
        if c.shuffle > 1:
            x = pixel_shuffle(x, c.grid, c.shuffle)
        elif c.pool > 1:
            x = pooled(x, c.grid, c.pool)
        x = self.first(x)
        if self.second is not None:
            x = self.second(gelu(x))
        if self.resampler is not None:
            x = self.resampler(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.positions is None else x + self.positions


class Resampler(Module):
    """Latents that look at the patches and at each other, block by block."""

    def __init__(self, config: ProjectorConfig, rng: np.random.Generator):
        c = config
        self.latents = parameter(normal((c.latents, c.width), 1.0, rng))
        self.blocks = [ResamplerBlock(c, rng) for _ in range(c.layers)]
        self.final_norm = LayerNorm(c.width)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, M, D)."""
        B, _, D = x.shape
        y = self.latents + np.zeros((B, 1, D))  # the same latents for each picture
        for block in self.blocks:
            y = block(y, x)
        return self.final_norm(y)


class ResamplerBlock(Module):
    """y + attention(y, to x and y), then y + mlp(y), each after a norm."""

    def __init__(self, config: ProjectorConfig, rng: np.random.Generator):
        c = config
        out_std = (2 * c.layers * c.width) ** -0.5
        self.norm_patches, self.norm_latents = LayerNorm(c.width), LayerNorm(c.width)
        self.attn = MultiHead(c.width, c.heads, out_std=out_std, rng=rng)
        self.norm = LayerNorm(c.width)
        self.mlp = MLP(c.width, 4 * c.width, "gelu", out_std=out_std, rng=rng)

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        """Latents (B, M, D), patches (B, N, D) -> (B, M, D)."""
        h = self.norm_latents(y)
        y = y + self.attn(h, concatenate([self.norm_patches(x), h], axis=1))
        return y + self.mlp(self.norm(y))


def pixel_shuffle(x: Tensor, grid: int, r: int) -> Tensor:
    """Each r × r neighbours as one vector: (B, N, D) -> (B, N/r², r²·D); nothing is lost."""
    B, _, D = x.shape
    squares = x.reshape(B, grid // r, r, grid // r, r, D).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(B, (grid // r) ** 2, r * r * D)


def pooled(x: Tensor, grid: int, r: int) -> Tensor:
    """The mean of each r × r neighbours: (B, N, D) -> (B, N/r², D)."""
    B, _, D = x.shape
    return x.reshape(B, grid // r, r, grid // r, r, D).mean((2, 4)).reshape(B, -1, D)

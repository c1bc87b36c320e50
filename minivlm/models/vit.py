"""The vision transformer: a picture is cut into patches, and patches are read like words.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929; with CLIP's norm before the blocks and without a
patch bias, openai/CLIP, clip/model.py; mean pooling: Beyer et al. 2022, arXiv:2205.01580.
"""

from dataclasses import dataclass

import numpy as np

from minivlm.errors import InputError
from minivlm.nn.block import ACTIVATIONS, Block
from minivlm.nn.layers import LayerNorm, normal
from minivlm.nn.module import Module, parameter
from minivlm.ops.convolve import patches
from minivlm.ops.join import concatenate
from minivlm.ops.linear import linear
from minivlm.tensor import Array, Tensor, no_grad


@dataclass(frozen=True)
class ViTConfig:
    """Sizes of a vision transformer.

    Attributes:
        image: side of a picture in pixels.
        patch: side of a patch in pixels, a divisor of `image`.
        width: D, a multiple of `heads`.
        heads: attention heads in each block.
        layers: number of blocks.
        pool: "class" reads the class token, "mean" the mean of all patches.
        pre_norm: a layer norm before the first block, as CLIP has it.
        activation: "quick_gelu", "gelu" or "gelu_tanh".
    """

    image: int
    patch: int
    width: int
    heads: int
    layers: int
    pool: str = "class"
    pre_norm: bool = True
    activation: str = "quick_gelu"

    def __post_init__(self) -> None:
        for name in ("image", "patch", "width", "heads", "layers"):
            if getattr(self, name) < 1:
                raise InputError(f"vision {name} {getattr(self, name)} is not positive")
        if self.image % self.patch:
            raise InputError(f"image side {self.image} is not a multiple of patch {self.patch}")
        if self.width % self.heads:
            raise InputError(f"vision width {self.width} is not a multiple of heads {self.heads}")
        if self.pool not in ("class", "mean"):
            raise InputError(f'vision pool "{self.pool}" is neither "class" nor "mean"')
        if self.activation not in ACTIVATIONS:
            raise InputError(f'activation "{self.activation}" is none of {", ".join(ACTIVATIONS)}')

    @property
    def patches(self) -> int:
        """N, the number of patches in a picture."""
        return (self.image // self.patch) ** 2


class ViT(Module):
    """Pixels (B, 3, S, S) to one feature vector a picture (B, D)."""

    def __init__(self, config: ViTConfig, rng: np.random.Generator):
        c = self.config = config
        depth, tokens = c.layers, c.patches + (c.pool == "class")
        inputs = 3 * c.patch**2
        self.patch_weight = parameter(
            normal((c.width, 3, c.patch, c.patch), inputs**-0.5, rng)
        )  # a convolution's layout, so published weights fit; stride = side makes it a linear map
        self.class_token = (
            parameter(normal((c.width,), c.width**-0.5, rng)) if c.pool == "class" else None
        )
        self.positions = parameter(normal((tokens, c.width), c.width**-0.5, rng))
        self.pre_norm = LayerNorm(c.width) if c.pre_norm else None
        self.blocks = [
            Block(c.width, c.heads, depth=depth, activation=c.activation, rng=rng)
            for _ in range(depth)
        ]
        self.post_norm = LayerNorm(c.width)

    def __call__(self, pixels: Tensor | Array) -> Tensor:
        """Pixels (B, 3, S, S), normalised, -> features (B, D), after the last norm."""
        x = self.embed(pixels)
        if self.config.pool == "mean":
            for block in self.blocks:
                x = block(x)
            return self.post_norm(x.mean(1))
        for block in self.blocks[:-1]:
            x = block(x)
        class_positions = np.zeros(len(x), int, like=x.data)
        return self.post_norm(self.blocks[-1].at(x, class_positions))

    def embed(self, pixels: Tensor | Array) -> Tensor:
        """Patches become tokens, a class token comes first, and each learns where it is.

        Args:
            pixels: (B, 3, S, S), normalised.

        Returns:
            Tokens (B, N, D), after `pre_norm` where there is one; N is one more than the patches
            where there is a class token, which is `positions`' first row, too.

        Raises:
            ValueError: pixels are not (B, 3, S, S) for the config's S.
        """
        x = pixels if isinstance(pixels, Tensor) else Tensor(pixels)
        if x.shape[1:] != (3, self.config.image, self.config.image):
            side = self.config.image
            raise ValueError(f"pixels {x.shape} are not (B, 3, {side}, {side})")
        width = self.config.width
        x = linear(patches(x, self.config.patch), self.patch_weight.reshape(width, -1))
        if self.class_token is not None:
            first = self.class_token + np.zeros((len(x), 1, width))  # the same in each picture
            x = concatenate([first, x], 1)
        x = x + self.positions
        return x if self.pre_norm is None else self.pre_norm(x)

    def hidden_states(self, pixels: Tensor | Array) -> list[Tensor]:
        """The tokens before the first block and after each: layers + 1 times (B, N, D).

        LLaVA reads the last but one. With a class token, that is token 0, and N is one more.
        """
        states = [self.embed(pixels)]
        for block in self.blocks:
            states.append(block(states[-1]))
        return states

    def patch_tokens(self, pixels: Tensor | Array, layer: int = -1) -> Tensor:
        """The patches' tokens after a block, without the class token: (B, N, D).

        Args:
            pixels: (B, 3, S, S), normalised.
            layer: -1 is after the last block, -2 after the last but one, as LLaVA takes them,
                −layers − 1 before the first; what comes later is not computed.

        Returns:
            (B, N, D), N patches in rows from the top left. A ViT without a class token (its
            `class_token` is None) has only patches, and gives them all.
        """
        x = self.embed(pixels)
        for block in self.blocks[: len(self.blocks) + 1 + layer]:
            x = block(x)
        return x if self.class_token is None else x[:, 1:]

    def attention_maps(self, pixels: Tensor | Array) -> list[Array]:
        """Where each token looks in each block, for pictures: layers times (B, H, N, N)."""
        with no_grad():
            states = self.hidden_states(pixels)
            return [
                block.attn.weights(block.norm1(x))
                for block, x in zip(self.blocks, states, strict=False)
            ]

"""CLIP: two towers that learn to agree on which picture belongs to which text.

Each tower ends in a matrix that maps its features into one joint space; there, the cosine of a
picture and a text, times a learned scale, says how well they fit.

Source: Radford et al. 2021, arXiv:2103.00020, fig. 3; openai/CLIP, clip/model.py.
"""

import math
from dataclasses import dataclass

import numpy as np

from minivlm.errors import InputError
from minivlm.models.text import TextConfig, TextTransformer
from minivlm.models.vit import ViT, ViTConfig
from minivlm.nn.layers import Linear
from minivlm.nn.module import Module, parameter
from minivlm.ops.contrastive import info_nce
from minivlm.ops.normalize import unit_length
from minivlm.tensor import Array, Tensor


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of both towers and of the space they share.

    Attributes:
        vision: the picture tower.
        text: the text tower.
        embed: E, the width of the joint space.
        temperature: what cosines are divided by at the start; learned from there.
        max_scale: the scale, 1 / temperature, is kept from growing beyond.
    """

    vision: ViTConfig
    text: TextConfig
    embed: int
    temperature: float = 0.07
    max_scale: float = 100.0

    def __post_init__(self) -> None:
        if self.embed < 1:
            raise InputError(f"embed {self.embed} is not positive")
        if not 1 / self.max_scale <= self.temperature <= 1:
            bounds = f"{1 / self.max_scale:g}..1"
            raise InputError(f"temperature {self.temperature} is not in {bounds}")


class CLIP(Module):
    """Pictures and texts to embeddings of one joint space, and to their similarities."""

    def __init__(self, config: CLIPConfig, rng: np.random.Generator):
        c = self.config = config
        self.vision = ViT(c.vision, rng)
        self.image_projection = Linear(c.vision.width, c.embed, bias=False, rng=rng)
        self.text = TextTransformer(c.text, rng)
        self.text_projection = Linear(c.text.width, c.embed, bias=False, rng=rng)
        self.log_scale = parameter(np.array(math.log(1 / c.temperature)))

    def __call__(self, pixels: Tensor | Array, ids: Array) -> Tensor:
        """Scaled cosines, one row a picture: (B, 3, S, S), (K, T) -> logits (B, K)."""
        image = unit_length(self.encode_image(pixels))
        text = unit_length(self.encode_text(ids))
        return self.log_scale.exp() * (image @ text.mT)

    def encode_image(self, pixels: Tensor | Array) -> Tensor:
        """Pixels (B, 3, S, S) -> embeddings (B, E), before they are scaled to unit length."""
        return self.image_projection(self.vision(pixels))

    def encode_text(self, ids: Array) -> Tensor:
        """Token ids (B, T) -> embeddings (B, E), before they are scaled to unit length."""
        return self.text_projection(self.text(ids))

    def loss(self, pixels: Tensor | Array, ids: Array, positives: Array | None = None) -> Tensor:
        """Symmetric InfoNCE in nats, for N pictures and N texts; see `info_nce`."""
        image, text = self.encode_image(pixels), self.encode_text(ids)
        return self.loss_of(image, text, positives)

    def loss_of(self, image: Tensor, text: Tensor, positives: Array | None = None) -> Tensor:
        """The same loss from embeddings (N, E) and (M, E), before unit length."""
        return info_nce(unit_length(image), unit_length(text), self.log_scale, positives)

    def clamp_scale(self) -> None:
        """Keep the scale in 1..max_scale; call it after each update.

        Source: mlfoundations/open_clip, open_clip_train/legacy_train.py.
        """
        scale = self.log_scale.data
        np.clip(scale, 0.0, math.log(self.config.max_scale), out=scale)

    def temperature(self) -> float:
        """What cosines are divided by now."""
        return 1 / math.exp(self.log_scale.item())

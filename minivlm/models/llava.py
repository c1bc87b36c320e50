"""LLaVA: an eye, a projector, and a language model that reads pictures as if they were words.

In the ids, `image_token` stands once for each soft word of a picture; there the projector's output
takes the place of an embedding. All else is the language model's business.

Source: Liu et al. 2023, arXiv:2304.08485; haotian-liu/LLaVA, llava/model/llava_arch.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from minivlm.errors import InputError
from minivlm.models.decoder import Decoder, DecoderConfig
from minivlm.models.generate import Sampling, generate
from minivlm.models.projector import Projector, ProjectorConfig
from minivlm.models.vit import ViT, ViTConfig
from minivlm.nn.module import Module
from minivlm.ops.join import concatenate
from minivlm.ops.losses import IGNORE, cross_entropy
from minivlm.tensor import Array, Tensor, no_grad


@dataclass(frozen=True)
class LLaVAConfig:
    """The three parts and how they fit together.

    Attributes:
        vision: the eye.
        projector: features of the eye to soft words.
        decoder: the language model.
        image_token: the id that stands for a soft word, inside the vocabulary.
        vision_layer: whose tokens are read: -1 after the last block, -2 after the last but one.
    """

    vision: ViTConfig
    projector: ProjectorConfig
    decoder: DecoderConfig
    image_token: int
    vision_layer: int = -2

    def __post_init__(self) -> None:
        v, p, d = self.vision, self.projector, self.decoder
        for name, mine, theirs in (
            ("inputs", p.inputs, v.width),
            ("grid", p.grid, v.image // v.patch),
            ("width", p.width, d.width),
        ):
            if mine != theirs:
                raise InputError(f"projector {name} {mine} does not fit {theirs} of its neighbour")
        if not 0 <= self.image_token < d.vocabulary:
            raise InputError(f"image token {self.image_token} is not among {d.vocabulary} ids")
        if not -v.layers - 1 <= self.vision_layer <= -1:
            raise InputError(f"vision layer {self.vision_layer} is not in {-v.layers - 1}..-1")

    @property
    def image_tokens(self) -> int:
        """How many ids stand for one picture."""
        return self.projector.tokens


class LLaVA(Module):
    """Token ids (B, T) and any number of pictures to logits (B, T, V)."""

    def __init__(self, config: LLaVAConfig, rng: np.random.Generator):
        self.config = config
        self.vision = ViT(config.vision, rng)
        self.projector = Projector(config.projector, rng)
        self.decoder = Decoder(config.decoder, rng)

    def __call__(
        self, ids: Array, pixels: Tensor | Array | None = None, mask: Array | None = None
    ) -> Tensor:
        """Logits for the token after each position.

        Args:
            ids: tokens (B, T); `image_token` stands for the pictures' soft words, in order.
            pixels: all pictures of the batch in the order of their tokens (n, 3, S, S), or None.
            mask: True where a position is text rather than padding (B, T).

        Raises:
            ValueError: image tokens and soft words differ in number.
        """
        return self.read(ids, None if pixels is None else self.see(pixels), mask)

    def see(self, pixels: Tensor | Array) -> Tensor:
        """Pixels (n, 3, S, S) -> patch features (n, N, inputs); once, where the eye is frozen."""
        return self.vision.patch_tokens(pixels, self.config.vision_layer)

    def read(self, ids: Array, seen: Tensor | None = None, mask: Array | None = None) -> Tensor:
        """The same from what was seen: ids (B, T), patch features (n, N, inputs) -> (B, T, V)."""
        return self.decoder.logits(self.decoder.features(self.spliced(ids, seen), mask))

    def loss(self, ids: Array, labels: Array, seen: Tensor | None = None) -> Tensor:
        """How surprised the model is by the tokens that are to be learnt.

        Logits of other positions are never computed; they are most of them.

        Args:
            ids: tokens (B, T), padded on the right, where no position looks.
            labels: the token after each position, or IGNORE where it is not learnt (B, T).
            seen: patch features (n, N, inputs).

        Returns:
            Mean nats a learnt token, ().

        Raises:
            ValueError: no token is to be learnt, or see `__call__`.
        """
        flat = labels.reshape(-1)
        learnt = np.flatnonzero(flat != IGNORE)
        if not len(learnt):
            raise ValueError("no token of the batch is to be learnt")
        features = self.decoder.features(self.spliced(ids, seen))
        rows = features.reshape(len(flat), -1)[learnt]
        return cross_entropy(self.decoder.logits(rows), flat[learnt])

    def spliced(self, ids: Array, seen: Tensor | None = None) -> Tensor:
        """Embeddings of the words, and soft words where image tokens stand.

        The image tokens of the whole batch, row by row, are one sequence; so are the soft words of
        all pictures, M a picture. The i-th soft word takes the place of the i-th image token. A
        row may have several pictures, or none.

        Args:
            ids: tokens (B, T).
            seen: patch features (n, N, inputs) of all pictures, in the order of their tokens; None
                where there are no pictures. The projector makes soft words of them, through which
                gradients flow back.

        Returns:
            (B, T, D), what the decoder's `features` take.

        Raises:
            ValueError: image tokens and soft words differ in number.
        """
        B, T = ids.shape
        words = self.decoder.embed(ids)
        places = np.flatnonzero(ids == self.config.image_token)
        count = 0 if seen is None else len(seen) * self.config.image_tokens
        if len(places) != count:
            raise ValueError(f"{len(places)} image tokens in the text, {count} soft words")
        if seen is None:
            return words
        D = words.shape[-1]
        table = concatenate([words.reshape(B * T, D), self.projector(seen).reshape(count, D)])
        rows = np.arange(B * T, like=words.data)
        rows[places] = np.arange(B * T, B * T + count, like=words.data)
        return table[rows].reshape(B, T, D)

    def generate(
        self,
        ids: Array,
        pixels: Tensor | Array | None = None,
        mask: Array | None = None,
        *,
        max_new_tokens: int,
        stop: Collection[int] = (),
        sampling: Sampling | None = None,
        rng: np.random.Generator | None = None,
        pad: int = 0,
    ) -> Iterator[np.ndarray]:
        """New tokens as soon as they are known, (B,) at a time; see `models.generate`."""
        with no_grad():
            prompt = self.spliced(ids, None if pixels is None else self.see(pixels))
        return generate(
            self.decoder,
            prompt,
            mask,
            max_new_tokens=max_new_tokens,
            stop=stop,
            sampling=sampling,
            rng=rng,
            pad=pad,
        )

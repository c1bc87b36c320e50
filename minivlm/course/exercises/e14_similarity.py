"""What is computed for E14: scaled cosines of given embeddings, and the scale after the clamp."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.models.clip import CLIP, CLIPConfig
from minivlm.models.text import TextConfig
from minivlm.models.vit import ViTConfig
from minivlm.tensor import Array, Tensor

CONFIG = CLIPConfig(
    vision=ViTConfig(image=4, patch=2, width=4, heads=1, layers=1),
    text=TextConfig(vocabulary=9, context=5, width=4, heads=2, layers=1, end=2),
    embed=3,
    max_scale=20.0,
)


class Towerless(CLIP):
    """A CLIP whose towers give what they are told, looked up by number."""

    def __init__(self, images: Array, texts: Array, log_scale: Array):
        self.config = CONFIG
        self.images = Tensor(images, requires_grad=True)
        self.texts = Tensor(texts, requires_grad=True)
        self.log_scale = Tensor(log_scale, requires_grad=True)

    def encode_image(self, pixels: Tensor | Array) -> Tensor:
        """The embeddings of all pictures."""
        array = pixels.data if isinstance(pixels, Tensor) else pixels
        return self.images * float(array.max())

    def encode_text(self, ids: Array) -> Tensor:
        """The embeddings of all texts."""
        return self.texts * float(ids.max())


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """More pictures than texts and fewer; scales below 1, fitting, too large, much too large."""
    scales = (-0.7, 1.3, 4.2, float(rng.uniform(0.5, 2.5)), 25.0)
    tables = ((2, 3), (1, 4), (3, 1), (2, 2), (1, 2))
    for number, ((B, K), scale) in enumerate(zip(tables, scales, strict=True)):
        dtype = np.float32 if number == 1 else np.float64
        yield {
            "pixels": rng.uniform(1, 2, (B, 3, 4, 4)).astype(dtype),
            "ids": rng.integers(3, 9, (K, 5)),
            "images": 3 * rng.standard_normal((B, 3)).astype(dtype),
            "texts": 3 * rng.standard_normal((K, 3)).astype(dtype),
            "log_scale": np.array(scale, dtype),
        }


def run(case: Case) -> Outputs:
    """Logits, their gradients, and the logarithm of the scale after it is clamped."""
    model = Towerless(case["images"], case["texts"], case["log_scale"].copy())
    logits = model(case["pixels"], case["ids"])
    (logits * logits).sum().backward()
    out: Outputs = {"logits": logits.data}
    for name in ("images", "texts", "log_scale"):
        p = vars(model)[name]
        out[f"gradient of {name}"] = np.full_like(p.data, np.nan) if p.grad is None else p.grad
    scale = model.log_scale.data
    model.clamp_scale()
    out["log_scale after clamp_scale"] = model.log_scale.data
    out["changed in place"] = np.array(model.log_scale.data is scale)
    return out

"""What is computed for E09: tokens of tiny vision transformers whose weights are all at random."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.models.vit import ViT, ViTConfig
from minivlm.tensor import Tensor


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """With and without a class token, with and without the norm, one picture, float32."""
    for B, image, pool, pre_norm, dtype in (
        (2, 4, "class", True, "float64"),
        (1, 6, "class", False, "float64"),
        (3, 4, "mean", False, "float64"),
        (2, 2, "mean", True, "float32"),
        (3, 4, "class", True, "float32"),
    ):
        yield {
            "pixels": rng.standard_normal((B, 3, image, image)).astype(dtype),
            "pool": pool,
            "pre_norm": pre_norm,
            "seed": int(rng.integers(10**6)),
            "tensor": B == 2,
        }
    for shape in ((1, 3, 4, 6), (2, 1, 4, 4)):
        pixels = rng.standard_normal(shape)
        yield {"pixels": pixels, "pool": "class", "pre_norm": True, "seed": 0, "raises": True}


def run(case: Case) -> Outputs:
    """Tokens, and the gradients of what they are made of."""
    pixels, rng = case["pixels"], np.random.default_rng(case["seed"])
    config = ViTConfig(
        image=pixels.shape[2],
        patch=2,
        width=4,
        heads=2,
        layers=1,
        pool=case["pool"],
        pre_norm=case["pre_norm"],
    )
    model = ViT(config, rng).astype(pixels.dtype)
    for p in model.parameters():
        p.data = rng.standard_normal(p.shape).astype(p.dtype)
    given = Tensor(pixels, requires_grad=True)
    tokens = model.embed(given if case.get("tensor") else pixels)
    weight = rng.standard_normal(tokens.shape).astype(pixels.dtype)
    (tokens * weight).sum().backward()
    out: Outputs = {"tokens": tokens.data}
    for name in ("patch_weight", "class_token", "positions"):
        p = vars(model)[name]
        if p is not None:
            out[f"gradient of {name}"] = np.zeros_like(p.data) if p.grad is None else p.grad
    if case.get("tensor"):
        out["gradient of pixels"] = np.zeros_like(pixels) if given.grad is None else given.grad
    return out

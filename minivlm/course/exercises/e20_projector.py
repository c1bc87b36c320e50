"""What is computed for E20: patch tokens of eyes of both kinds, soft words of every projector."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.models.projector import Projector, ProjectorConfig
from minivlm.models.vit import ViT, ViTConfig
from minivlm.nn.module import Module
from minivlm.tensor import Tensor

INPUTS = 6  # width of a patch's features
EYES: tuple[tuple[str, int], ...] = (
    ("class", -2), ("mean", -1), ("class", -4), ("mean", -3), ("class", -1),
)  # fmt: skip
PROJECTORS: tuple[dict, ...] = (
    {"kind": "linear"},
    {"kind": "mlp", "norm": True, "positions": True},
    {"kind": "mlp", "shuffle": 2, "positions": True},
    {"kind": "perceiver", "pool": 2, "norm": True, "latents": 3, "layers": 1, "heads": 2},
    {"kind": "mlp", "pool": 2},
)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Eyes with and without a class token, read at several depths; features as they leave them."""
    for number, ((eye, layer), options) in enumerate(zip(EYES, PROJECTORS, strict=True)):
        B = (2, 1, 3, 2, 1)[number]
        dtype = np.float32 if number == 4 else np.float64
        yield {
            "pixels": rng.standard_normal((B, 3, 8, 8)).astype(dtype),
            "eye": eye,
            "layer": layer,
            "features": rng.standard_normal((B, 16, INPUTS)).astype(dtype),
            "projector": options,
            "dy": rng.standard_normal(8),
            "seed": int(rng.integers(1000)),
        }
    for shape in ((2, 17, INPUTS), (1, 16, INPUTS - 1)):  # a class token too many; too narrow
        yield {
            "features": rng.standard_normal(shape),
            "projector": {"kind": "mlp"},
            "seed": 0,
            "raises": True,
        }


def run(case: Case) -> Outputs:
    """Tokens of patches; soft words of the case's features, and gradients of the first layer."""
    rng = np.random.default_rng(case["seed"])
    config = ProjectorConfig(inputs=INPUTS, width=8, grid=4, **case["projector"])
    projector = Projector(config, rng)
    _scatter(projector, rng, case["features"].dtype.type)
    features = Tensor(case["features"], requires_grad=True)
    if case.get("raises"):
        return {"words": projector(features).data}
    vit = ViT(ViTConfig(image=8, patch=2, width=INPUTS, heads=2, layers=3, pool=case["eye"]), rng)
    _scatter(vit, rng, case["pixels"].dtype.type)
    words = projector(features)
    (words * case["dy"]).sum().backward()
    return {
        "tokens": vit.patch_tokens(case["pixels"], case["layer"]).data,
        "words": words.data,
        "dfeatures": _gradient(features),
        "dweight": _gradient(projector.first.weight),
    }


def _scatter(module: Module, rng: np.random.Generator, dtype: type) -> None:
    """Every parameter at random: biases start at 0 and norms at 1, where they do not show."""
    for p in module.astype(dtype).parameters():
        p.data = rng.standard_normal(p.shape).astype(dtype)


def _gradient(leaf: Tensor) -> np.ndarray:
    return np.zeros(leaf.shape) if leaf.grad is None else leaf.grad

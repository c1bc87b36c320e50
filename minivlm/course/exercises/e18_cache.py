"""What is computed for E18: a text in one pass, and the same text by and by with a memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.models.decoder import Decoder, DecoderConfig
from minivlm.tensor import Tensor, no_grad


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """In one pass with gradients; token by token; in chunks; with and without padding."""
    for B, padding, chunks, key_heads, scale in (
        (1, None, None, 4, 1.0),
        (3, (0, 3, 1), None, 2, 2.0),
        (2, None, (1,) * 5, 2, 1.0),
        (1, None, (2, 1, 3), 1, 4.0),
        (2, (1, 0), (3, 1, 1), 4, 1.0),
        (3, (2, 0, 4), (3, 3), 2, 0.5),
    ):
        T = sum(chunks or (5,))
        x = rng.standard_normal((B, T, 24)).astype(np.float32 if chunks == (3, 3) else np.float64)
        yield {
            "x": x,
            "mask": None if padding is None else np.arange(T) >= np.array(padding)[:, None],
            "chunks": chunks,
            **({} if chunks else {"dy": rng.standard_normal(x.shape)}),
            "key_heads": key_heads,
            "rope_scale": scale,
            "seed": int(rng.integers(1000)),
        }


def run(case: Case) -> Outputs:
    """The angles and the features of each position, whoever came along; in one pass, gradients."""
    x, mask, chunks = case["x"], case["mask"], case["chunks"]
    B, T, D = x.shape
    config = DecoderConfig(
        vocabulary=2, width=D, heads=4, key_heads=case["key_heads"], layers=2, hidden=8,
        rope_base=50.0, rope_scale=case["rope_scale"],
    )  # fmt: skip
    decoder = Decoder(config, np.random.default_rng(case["seed"])).astype(x.dtype.type)
    if chunks is None:
        cos, sin = decoder.angles(T, T, mask, Tensor(x))
        whole = Tensor(x, requires_grad=True)
        features = decoder.features(whole, mask)
        (features * case["dy"]).sum().backward()
        attn = decoder.blocks[0].attn
        gradients = {"x": whole, "q": attn.q.weight, "k": attn.k.weight, "v": attn.v.weight}
        return {"cos": _wide(cos, B), "sin": _wide(sin, B), "features": features.data} | {
            f"d{name}": np.zeros(leaf.shape) if leaf.grad is None else leaf.grad
            for name, leaf in gradients.items()
        }
    memory, start = decoder.new_memory(), 0
    found: dict[str, list[np.ndarray]] = {"cos": [], "sin": [], "features": []}
    for new in chunks:
        part, end = Tensor(x[:, start : start + new]), start + new
        seen = None if mask is None else mask[:, :end]
        with no_grad():
            cos, sin = decoder.angles(new, end, seen, part)
            found["features"].append(decoder.features(part, seen, memory).data)
        found["cos"].append(_wide(cos, B))
        found["sin"].append(_wide(sin, B))
        start = end
    return {name: np.concatenate(parts, -2) for name, parts in found.items()}


def _wide(angles: np.ndarray, B: int) -> np.ndarray:
    """(T, C/2), which holds for all texts, as (B, 1, T, C/2)."""
    same = all(length == 1 for length in angles.shape[:-2])
    return np.broadcast_to(angles, (B, 1, *angles.shape[-2:])) if same else angles

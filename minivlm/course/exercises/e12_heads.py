"""What is computed for E12: channels shared out to heads, and put together again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.nn.multihead import MultiHead
from minivlm.tensor import Tensor


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """One head, as many heads as channels, one token, one text, float32."""
    for B, T, heads, C, dtype in (
        (2, 3, 2, 4, np.float64),
        (1, 5, 3, 1, np.float64),
        (3, 1, 4, 2, np.float32),
        (2, 4, 1, 3, np.float64),
    ):
        yield {
            "x": rng.standard_normal((B, T, heads * C)).astype(dtype),
            "parts": rng.standard_normal((B, heads, T, C)).astype(dtype),
            "heads": heads,
        }


def run(case: Case) -> Outputs:
    """What each makes of its own input, where gradients go, and both in a row."""
    width = case["x"].shape[-1]
    layer = MultiHead(width, case["heads"], rng=np.random.default_rng(0))
    x = Tensor(case["x"], requires_grad=True)
    parts = Tensor(case["parts"], requires_grad=True)
    split, merged = layer.split(x), layer.merge(parts)
    back = layer.merge(layer.split(x))
    for made, weight in ((split, case["parts"]), (merged, case["x"])):
        if made.requires_grad:
            (made * np.resize(weight, made.shape)).sum().backward()  # of whatever shape it is
    return {
        "split(x)": split.data,
        "merge(parts)": merged.data,
        "merge(split(x))": back.data,
        "gradient through split": _grad(x),
        "gradient through merge": _grad(parts),
    }


def _grad(x: Tensor) -> np.ndarray:
    return np.full_like(x.data, np.nan) if x.grad is None else x.grad

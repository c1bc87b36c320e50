"""What is computed for E21: words and soft words in one sequence, and where gradients go."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.models.decoder import DecoderConfig
from minivlm.models.llava import LLaVA, LLaVAConfig
from minivlm.models.projector import ProjectorConfig
from minivlm.models.vit import ViTConfig
from minivlm.tensor import Tensor

IMAGE = 3  # the image token
M = 4  # soft words of a picture
ROWS = (  # P: the place of a picture, w: of a word
    ("wPww", "ww", "Pw"),
    ("PwwPw",),
    ("www", "wPP", "w", "wwP"),
    ("ww", "www"),
    ("PP", "w", "Pw"),
)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """A picture in front, in the middle, at the end, two side by side, none; and one too many."""
    for rows in ROWS:
        yield _case(rng, rows, np.float32 if len(rows[0]) == 2 < len(rows) else np.float64)
    one = _case(rng, ("wP", "ww"), np.float64) | {"raises": True}
    yield one | {"seen": rng.standard_normal((2, 4, 5))}
    yield one | {"seen": None}


def _case(rng: np.random.Generator, rows: tuple[str, ...], dtype: type) -> Case:
    """Rows of ids, filled up with words to one length."""
    texts = [
        [i for place in row for i in ([IMAGE] * M if place == "P" else [int(rng.integers(4, 9))])]
        for row in rows
    ]
    T, n = max(map(len, texts)), "".join(rows).count("P")
    return {
        "ids": np.array([text + [0] * (T - len(text)) for text in texts]),
        "seen": rng.standard_normal((n, 4, 5)).astype(dtype) if n else None,
        "dy": rng.standard_normal((len(rows), T, 8)),
        "seed": int(rng.integers(1000)),
    }


def run(case: Case) -> Outputs:
    """What the decoder reads, and the gradients of its table of words and of the projector."""
    rng = np.random.default_rng(case["seed"])
    config = LLaVAConfig(
        vision=ViTConfig(image=4, patch=2, width=5, heads=1, layers=1),
        projector=ProjectorConfig("linear", inputs=5, width=8, grid=2, positions=True),
        decoder=DecoderConfig(vocabulary=9, width=8, heads=2, key_heads=1, layers=1, hidden=4),
        image_token=IMAGE,
    )
    model = LLaVA(config, rng)
    seen = None if case["seen"] is None else Tensor(case["seen"])
    model.astype(np.float64 if seen is None else seen.dtype.type)
    read = model.spliced(case["ids"], seen)
    if case.get("raises"):
        return {"read": read.data}
    if read.node is not None:  # else nothing leads back: gradients stay 0
        (read * case["dy"]).sum().backward()
    table, matrix = model.decoder.tokens.weight, model.projector.first.weight
    return {"read": read.data, "dtable": _gradient(table), "dprojector": _gradient(matrix)}


def _gradient(leaf: Tensor) -> np.ndarray:
    return np.zeros(leaf.shape) if leaf.grad is None else leaf.grad

"""What is computed for E16: ranks with ties, recall, directions of classes, predictions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.evaluate.retrieval import ranks, recall
from minivlm.evaluate.zero_shot import class_embeddings, predict

NAMES = ("circle", "square", "star", "red {} thing")
TEMPLATES = ("{}", "a photo of a {}", "the old {} there", "no name")


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """One query, several right answers, many ties; one name, one template."""
    shapes = ((4, 4, 3, 2), (1, 6, 1, 3), (5, 3, 4, 1), (6, 6, 2, 4), (3, 8, 3, 3))
    for number, (Q, K, names, templates) in enumerate(shapes):
        right = None
        if Q != K:
            right = rng.random((Q, K)) < 0.4
            right[np.arange(Q), rng.integers(0, K, Q)] = True
        similarity = rng.standard_normal((Q, K))
        if number % 2:
            similarity = np.round(similarity)  # many equal candidates
        yield {
            "similarity": similarity,
            "right": right,
            "ks": (1, 2, 4),
            "names": list(NAMES[:names]),
            "templates": list(TEMPLATES[:templates]),
            "images": rng.standard_normal((Q, 3)),
            "seed": int(rng.integers(10**6)),
        }
    right = np.eye(2, 3) > 0
    fits = {"similarity": np.ones((2, 3)), "right": right, "ks": (1,), "images": np.ones((1, 3))}
    words = {"names": ["a"], "templates": ["{}"], "seed": 0, "raises": True}
    yield fits | words | {"right": ~right & right}
    yield fits | words | {"right": right.T}
    yield fits | words | {"names": []}
    yield fits | words | {"templates": []}
    yield fits | words | {"images": np.ones((1, 4))}


def run(case: Case) -> Outputs:
    """Ranks, recall, class directions and the classes of pictures."""
    standing = ranks(case["similarity"], case["right"])
    share = recall(case["similarity"], case["right"], case["ks"])
    asked: list[str] = []

    def encode(texts: list[str]) -> np.ndarray:
        """Directions that depend on the words."""
        asked.extend(texts)
        numbers = [[case["seed"], *text.encode()] for text in texts]
        drawn = [np.random.default_rng(number).standard_normal(3) for number in numbers]
        return np.array([x / np.linalg.norm(x) for x in drawn])

    classes = class_embeddings(encode, case["names"], case["templates"])
    return {
        "ranks": np.asarray(standing, np.int64),
        "recall": np.array([share[k] for k in case["ks"]]),
        "prompts": np.array(sorted(asked)),
        "classes": classes,
        "predicted": np.asarray(predict(case["images"], classes), np.int64),
    }

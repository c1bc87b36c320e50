"""What is computed for E22: conversations with pictures laid out, and the labels of each place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.data.chat import ASSISTANT, USER, Template, Turn, laid_out, next_token_labels

IMAGE = 9  # the image token
IGNORE = -100
TEMPLATES = {
    "bare": Template((1,), (3,), (4,), (2,)),
    "wordy": Template((1, "Be kind."), (" USER: ",), (" BOT: ",), (2,)),
    "open": Template((), ("Q", 3), (4, "A"), (2, "\n")),
}
WORDS = ("what", "is", "red", "a", "square", "two", "dogs", "why", "no", "left")


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Pictures in front, inside, at the end, two at once, none; several turns; open questions."""
    for template, image_tokens, said in (
        ("bare", 3, ["<image>QUESTION", "ANSWER"]),
        ("wordy", 2, ["QUESTION<image>WORD", "ANSWER", "QUESTION", "ANSWER"]),
        ("open", 4, ["QUESTION", "ANSWER", "<image><image>", "WORD"]),
        ("bare", 2, ["WORD", "WORD<image>WORD", "QUESTION<image>"]),
        ("open", 1, ["QUESTION"]),
        ("open", 2, ["", "ANSWER"]),
    ):
        B, T = int(rng.integers(1, 4)), int(rng.integers(4, 8))
        yield {
            "said": " | ".join(_filled(text, rng) for text in said),
            "template": template,
            "image_tokens": image_tokens,
            "ids": rng.integers(0, 50, (B, T)),
            "learnt": rng.random((B, T)) < 0.6,
        }


def run(case: Case) -> Outputs:
    """Ids and marks of the conversation, and its labels; labels of other ids and marks."""
    turns = [
        Turn.marked((USER, ASSISTANT)[number % 2], text)
        for number, text in enumerate(case["said"].split(" | "))
    ]
    template = TEMPLATES[case["template"]]
    ids, learnt = (
        np.array(list(side))
        for side in laid_out(turns, template, _encode, IMAGE, case["image_tokens"])
    )
    learnt = learnt.astype(bool)
    return {
        "conversation_ids": ids,
        "conversation_learnt": learnt,
        "conversation_labels": next_token_labels(ids[None], learnt[None], IGNORE),
        "labels": next_token_labels(case["ids"], case["learnt"], IGNORE),
    }


def _encode(text: str) -> list[int]:
    """Two letters are an id, one at the end is, too: where a piece is cut, ids are others."""
    return [
        sum(ord(x) * 200**i for i, x in enumerate(text[at : at + 2]))
        for at in range(0, len(text), 2)
    ]


def _filled(text: str, rng: np.random.Generator) -> str:
    """A word or some for the capital ones."""
    for name, count in (("QUESTION", 4), ("ANSWER", 3), ("WORD", 1)):
        while name in text:
            text = text.replace(name, " ".join(rng.choice(WORDS, count)), 1)
    return text

"""`minivlm show-labels`: a conversation as a model reads it, and which tokens it learns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minivlm.data.chat import Conversation, Sample, vicuna
from minivlm.data.conversations import read_conversations
from minivlm.data.draw import make_scenes
from minivlm.data.lessons import instruction
from minivlm.errors import InputError
from minivlm.recipes.trained_vlm import TrainedVLM

LEARNT, READ, PICTURE, PLAIN = "\033[1;32m", "\033[2m", "\033[35m", "\033[0m"


def show_labels(
    vlm: TrainedVLM, data: str, count: int, template: str, colored: bool
) -> Iterator[str]:
    """Conversations of a data set, token by token.

    Args:
        vlm: whose tokenizer and picture size are used.
        data: "scenes", or a file in LLaVA's format.
        count: conversations to show.
        template: "bare", the model's own, or "vicuna".
        colored: learnt tokens in green, pictures in magenta; otherwise learnt ones in ⟦⟧.

    Yields:
        Lines of text.

    Raises:
        InputError: the data is bad, or the count is not positive.
    """
    if count < 1:
        raise InputError(f"--count {count} is not positive")
    yield "tokens are divided by ·  learnt ones are " + (
        f"{LEARNT}green{PLAIN}" if colored else "in ⟦⟧"
    )
    special = vlm.tokenizer.special
    style = vicuna(special("<start>"), vlm.end) if template == "vicuna" else vlm.template
    for conversation in _conversations(data, count):
        sample = vlm.sample(conversation, style)
        learnt = int(sample.learnt.sum())
        yield ""
        yield f"{conversation.where}: {len(sample.ids)} tokens, {learnt} of them learnt"
        yield _line(vlm, sample, colored)


def _conversations(data: str, count: int) -> Iterator[Conversation]:
    if data == "scenes":
        rng = np.random.default_rng(0)
        for scene in make_scenes(count, seed=0)[0]:
            yield instruction(scene, 3, rng)
        return
    for _, found in zip(range(count), read_conversations(Path(data)), strict=False):
        if isinstance(found, InputError):
            raise found
        yield found


def _line(vlm: TrainedVLM, sample: Sample, colored: bool) -> str:
    """The tokens in a row; a picture's soft words are one entry."""
    specials, image_token = vlm.tokenizer.specials, vlm.model.config.image_token
    shown: list[str] = []
    at = 0
    while at < len(sample.ids):
        token, learnt, width = int(sample.ids[at]), bool(sample.learnt[at]), 1
        word = specials[token] if token < len(specials) else vlm.tokenizer.decode([token])
        if token == image_token:
            width = vlm.model.config.image_tokens
            word = f"<image>×{width}"
        word = word.replace("\n", "↵")
        if colored:
            color = PICTURE if token == image_token else LEARNT if learnt else READ
            word = f"{color}{word}{PLAIN}"
        elif learnt:
            word = f"⟦{word}⟧"
        shown.append(word)
        at += width
    return "·".join(shown)

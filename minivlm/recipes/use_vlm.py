"""`minivlm ask` and `minivlm caption`: a talking model at work on a user's pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from minivlm.data.chat import ASSISTANT, USER, Turn
from minivlm.data.image import open_image, resize_and_crop
from minivlm.data.lessons import PROMPT, about_picture
from minivlm.errors import InputError
from minivlm.models.generate import Sampling
from minivlm.recipes.trained_vlm import TrainedVLM
from minivlm.tensor import Array, Tensor, no_grad
from minivlm.viz.attention import answer_attention
from minivlm.viz.style import save_figure


class Chat:
    """A conversation about one picture, which goes on for as long as the context lasts.

    Args:
        vlm: who answers.
        image: the picture, uint8 (S, S, 3); see `read_picture`.
        sampling: how words are chosen; None takes the most probable.
        rng: decides what the sampling leaves open.
    """

    def __init__(
        self,
        vlm: TrainedVLM,
        image: np.ndarray,
        sampling: Sampling | None = None,
        rng: np.random.Generator | None = None,
    ):
        self.vlm, self.sampling, self.rng = vlm, sampling, rng
        self.image, self.seen = image, vlm.look(image[None])
        self.turns: list[Turn] = []

    def ask(self, question: str) -> Iterator[str]:
        """The answer, piece by piece; what was said stays part of the conversation.

        Raises:
            InputError: the question is empty, or the conversation is longer than the context.
        """
        question = question.strip()
        if not question:
            raise InputError("the question is empty")
        turn = Turn(USER, question) if self.turns else about_picture(question)
        answer = ""
        for piece in self.vlm.stream(self.seen, [*self.turns, turn], self.sampling, self.rng):
            answer += piece
            yield piece
        self.turns += [turn, Turn(ASSISTANT, answer)]

    def write_attention(self, path: Path) -> None:
        """Draw where the words of the last answer looked, as a PNG.

        Raises:
            InputError: the answer was empty, or the soft words are no grid (a perceiver's).
        """
        words, weights = attention_of(self.vlm, self.seen, self.turns)
        if not words:
            raise InputError("the answer has no words whose attention could be shown")
        title = "  ".join(turn.text.strip() for turn in self.turns[-2:])
        save_figure(answer_attention(self.image, title, words, weights), path)


def attention_of(
    vlm: TrainedVLM, seen: Array, turns: Sequence[Turn]
) -> tuple[list[str], np.ndarray]:
    """What each token of the last answer paid to each soft word, mean over blocks and heads.

    Args:
        vlm: the model.
        seen: patch features of the one picture (1, N, inputs).
        turns: a conversation that ends with an answer.

    Returns:
        The answer's tokens as text, and weights (tokens, rows, columns).

    Raises:
        InputError: the soft words are no grid.
    """
    config = vlm.model.config
    if config.projector.kind == "perceiver":
        raise InputError("a perceiver's soft words have no place in the picture to be shown at")
    prompt = vlm.prompt(turns[:-1])
    answer = vlm.tokenizer.encode(turns[-1].text)
    ids = np.concatenate([prompt, answer]).astype(int)[None]
    with no_grad():
        maps = vlm.model.decoder.attention_maps(vlm.model.spliced(ids, Tensor(seen)))
    mean = np.mean([weights[0].mean(0) for weights in maps], axis=0)  # (T, T)
    asked = slice(len(prompt) - 1, len(ids[0]) - 1)  # each token is chosen at the one before it
    to_picture = mean[asked][:, ids[0] == config.image_token]
    side = round(config.image_tokens**0.5)
    words = [vlm.tokenizer.decode([token]).strip() for token in answer]
    return words, to_picture.reshape(len(answer), side, side)


def captions(vlm: TrainedVLM, paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """What the model says of each picture.

    Raises:
        InputError: a picture cannot be read; those before it were told.
    """
    for path in paths:
        seen = vlm.look(read_picture(vlm, path)[None])
        yield path, vlm.answers(seen, [PROMPT])[0]


def read_picture(vlm: TrainedVLM, path: Path) -> np.ndarray:
    """A picture as the model sees it, uint8 (S, S, 3).

    Raises:
        InputError: it cannot be read.
    """
    return resize_and_crop(open_image(path), vlm.model.config.vision.image)

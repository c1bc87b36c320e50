"""From a conversation to token ids, and which of them are to be learnt.

Ids and the marks of what is learnt grow together, piece by piece. LLaVA's code marks answers after
the fact, by tokenising prefixes again and comparing lengths; where the two disagree by one, the
whole sample is silently dropped or the wrong tokens are learnt. Here there is nothing to disagree.

Source: haotian-liu/LLaVA, llava/train/train.py, preprocess_v1; docs/Finetune_Custom_Data.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from minivlm.errors import InputError

IMAGE = "<image>"  # where a picture stands in the text of a data file
USER, ASSISTANT = "human", "gpt"  # LLaVA's names
Piece = str | int  # text, or the id of a special token
Encode = Callable[[str], list[int]]


@dataclass(frozen=True)
class Turn:
    """What one side says.

    Attributes:
        role: USER or ASSISTANT.
        text: words and nothing else: whatever stands here is read as text.
        pictures: where in the text a picture stands, in characters from its start.
    """

    role: str
    text: str
    pictures: tuple[int, ...] = ()

    @classmethod
    def marked(cls, role: str, text: str) -> Turn:
        """A turn from a data file, where IMAGE marks a picture's place."""
        parts = text.split(IMAGE)
        places = accumulate(len(part) for part in parts[:-1])
        return cls(role, "".join(parts), tuple(places))

    def parts(self) -> list[str]:
        """The text between pictures: one part more than there are pictures."""
        ends = [*self.pictures, len(self.text)]
        return [self.text[a:b] for a, b in zip([0, *self.pictures], ends, strict=True)]


@dataclass(frozen=True)
class Conversation:
    """Turns in order, the pictures they are about, and where this was read.

    Attributes:
        turns: user and assistant in turns, the user first.
        images: paths of pictures, one for each that stands in the turns.
        where: such as "data.json, line 7", for errors.
    """

    turns: tuple[Turn, ...]
    images: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class Template:
    """What stands around the turns, none of which is learnt but `after_answer`.

    Attributes:
        start: before everything.
        before_user: before each user's turn.
        before_answer: between a user's turn and its answer.
        after_answer: ends an answer; learnt, so that a model knows when to stop.
    """

    start: tuple[Piece, ...]
    before_user: tuple[Piece, ...]
    before_answer: tuple[Piece, ...]
    after_answer: tuple[Piece, ...]


def vicuna(start: int, end: int) -> Template:
    """The template of LLaVA 1.5 (vicuna_v1), with the ids of <s> and </s>."""
    system = (
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    )
    return Template((start, system), (" USER: ",), (" ASSISTANT: ",), (end,))


def bare(start: int, question: int, answer: int, end: int) -> Template:
    """Nothing but one special token for each role: for small vocabularies."""
    return Template((start,), (question,), (answer,), (end,))


@dataclass(frozen=True)
class Sample:
    """A conversation as a model reads it.

    Attributes:
        ids: tokens (T,), the image token as often as a picture has features.
        learnt: True where a token is to be predicted (T,).
        images: paths of its pictures, in the order of their tokens.
    """

    ids: np.ndarray
    learnt: np.ndarray
    images: tuple[str, ...]


def check_pictures(conversation: Conversation) -> None:
    """See that there is a picture for each place in the text, and a place for each picture.

    Raises:
        InputError: they differ in number.
    """
    places = sum(len(turn.pictures) for turn in conversation.turns)
    if places != len(conversation.images):
        count = len(conversation.images)
        raise InputError(f"{conversation.where}: {places} {IMAGE} in the text, {count} pictures")


def training_sample(
    conversation: Conversation,
    template: Template,
    encode: Encode,
    image_token: int,
    image_tokens: int,
    most: int,
) -> Sample:
    """A conversation of which the answers are learnt.

    Args:
        conversation: what was said.
        template: what stands around it.
        encode: text -> ids; each piece by itself, as when the model is asked later.
        image_token: the id that stands for a picture's features.
        image_tokens: how many features a picture has.
        most: tokens that are kept; the rest is cut off.

    Raises:
        InputError: pictures and their places differ in number, the cut would split a picture, or
            nothing is left to learn.
    """
    check_pictures(conversation)
    ids, learnt = laid_out(conversation.turns, template, encode, image_token, image_tokens)
    if image_token in ids[most:]:
        raise InputError(f"{conversation.where}: a picture lies beyond the {most} tokens kept")
    if not any(learnt):
        raise InputError(f"{conversation.where}: nothing to learn, no turn is by {ASSISTANT}")
    if not any(learnt[:most]):
        raise InputError(
            f"{conversation.where}: nothing to learn, the first answer is beyond {most} tokens"
        )
    return Sample(np.array(ids[:most]), np.array(learnt[:most]), conversation.images)


def question_ids(
    turns: Sequence[Turn], template: Template, encode: Encode, image_token: int, image_tokens: int
) -> np.ndarray:
    """Ids (T,) that end where the next answer begins; the last turn is the user's.

    They are, id by id, what training saw before that answer.

    Raises:
        ValueError: the last turn is not the user's.
    """
    if not turns or turns[-1].role != USER:
        raise ValueError("there is no question to be answered")
    return np.array(laid_out(turns, template, encode, image_token, image_tokens)[0])


def padded(samples: Sequence[Sample], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids (B, T) padded on the right, and what is learnt of them (B, T)."""
    longest = max(len(sample.ids) for sample in samples)
    ids = np.full((len(samples), longest), pad)
    learnt = np.zeros((len(samples), longest), bool)
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = sample.ids
        learnt[row, : len(sample.ids)] = sample.learnt
    return ids, learnt


def next_token_labels(ids: np.ndarray, learnt: np.ndarray, ignore: int) -> np.ndarray:
    """What is to be said at each position: the token that follows it, if that is learnt.

    Args:
        ids: tokens (B, T).
        learnt: True where a token is to be predicted (B, T), from the position before it.
        ignore: the label of positions that have nothing to learn, the last of each row included.

    Returns:
        Labels (B, T), of the dtype of ids.
    """
    labels = np.full_like(ids, ignore)
    labels[:, :-1] = np.where(learnt[:, 1:], ids[:, 1:], ignore)
    return labels


def laid_out(
    turns: Sequence[Turn], template: Template, encode: Encode, image_token: int, image_tokens: int
) -> tuple[list[int], list[bool]]:
    """All ids of a conversation, and which of them are learnt.

    First `template.start`. A user's turn stands between `before_user` and `before_answer`, an
    assistant's is followed by `after_answer`. Learnt are the assistant's words and the
    `after_answer` behind them, and nothing else; no picture is, whoever shows it. After a user's
    last turn the ids end where its answer would begin.

    Args:
        turns: in order; each has `parts()`, the texts between its pictures, which may be empty.
        template: pieces of text, and ids of special tokens, which are taken as they are.
        encode: text -> ids; each piece and each part by itself.
        image_token: the id that stands for a picture.
        image_tokens: how often it stands for one.

    Returns:
        Ids (T) and marks (T), True where an id is learnt.
    """
    ids: list[int] = []
    learnt: list[bool] = []

    def add(pieces: Sequence[Piece], learn: bool) -> None:
        for piece in pieces:
            new = [piece] if isinstance(piece, int) else encode(piece)
            ids.extend(new)
            learnt.extend([learn] * len(new))

    def add_text(turn: Turn, learn: bool) -> None:
        for number, part in enumerate(turn.parts()):
            if number:
                add([image_token] * image_tokens, learn=False)
            add([part] if part else [], learn)

    add(template.start, learn=False)
    for turn in turns:
        if turn.role == USER:
            add(template.before_user, learn=False)
            add_text(turn, learn=False)
            add(template.before_answer, learn=False)
        else:
            add_text(turn, learn=True)
            add(template.after_answer, learn=True)
    return ids, learnt

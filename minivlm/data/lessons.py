"""What a language model is taught about a scene: to read of it, to caption it, to answer.

Stage 0 has the description where later a picture stands, so that a model learns to look things up
in what it is told before there is anything to see. The turns of a conversation are independent
questions; a description is asked for last, or every later answer could be copied from it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minivlm.data.chat import ASSISTANT, USER, Conversation, Turn
from minivlm.data.phrases import describe
from minivlm.data.questions import KINDS, Question, ask
from minivlm.data.scenes import Scene

# How often each kind is asked. Yes or no is learnt last, a background at once.
WEIGHTS: Mapping[str, float] = {
    "color": 1.0,
    "shape": 1.0,
    "count": 1.0,
    "exist": 3.0,
    "where": 1.5,
    "size": 1.0,
    "texture": 1.0,
    "relation": 3.0,
    "background": 0.4,
    "what_at": 1.5,
    "describe": 1.5,
}
_CHANCES = np.array([WEIGHTS[kind] for kind in KINDS]) / sum(WEIGHTS.values())
PROMPT = "describe the image."


def questions(scene: Scene, count: int, rng: np.random.Generator) -> list[Question]:
    """Questions of random kinds, at most one of them for a description, which comes last."""
    asked: list[Question] = []
    while len(asked) < count:
        kind = KINDS[rng.choice(len(KINDS), p=_CHANCES)]
        if kind == "describe" and any(q.kind == kind for q in asked):
            continue
        if question := ask(scene, kind, rng):
            asked.append(question)
    return sorted(asked, key=lambda question: question.kind == "describe")


def reading(scene: Scene, rng: np.random.Generator) -> Conversation:
    """Stage 0, text only: a description, and a question that it answers.

    In a quarter of them the description is asked for, so that it is learnt, too.
    """
    asked = questions(scene, 2, rng)[0]  # a description would be the second
    told = describe(scene)
    if rng.random() < 0.25:
        turns = [Turn(USER, PROMPT), Turn(ASSISTANT, told), *_turns([asked])]
    else:
        turns = [Turn(USER, f"{told}\n{asked.text}"), Turn(ASSISTANT, asked.answer)]
    return Conversation(tuple(turns), (), "a scene")


def captioning(scene: Scene) -> Conversation:
    """Stage 1: a picture, and the one description of it."""
    turns = (about_picture(""), Turn(ASSISTANT, describe(scene)))
    return Conversation(turns, ("a scene",), "a scene")


def instruction(scene: Scene, count: int, rng: np.random.Generator) -> Conversation:
    """Stage 2: a picture, and questions about it."""
    turns = _turns(questions(scene, count, rng))
    turns[0] = about_picture(turns[0].text)
    return Conversation(tuple(turns), ("a scene",), "a scene")


def about_picture(text: str) -> Turn:
    """A user's turn with a picture on a line before the text, as LLaVA has it."""
    return Turn(USER, f"\n{text}", pictures=(0,))


def _turns(asked: list[Question]) -> list[Turn]:
    return [
        turn
        for question in asked
        for turn in (Turn(USER, question.text), Turn(ASSISTANT, question.answer))
    ]

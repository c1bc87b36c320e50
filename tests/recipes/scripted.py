"""Talking models with a script: what they say is known, so measuring them can be tested."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from minivlm.data.chat import Turn
from minivlm.data.phrases import describe
from minivlm.data.scenes import SHAPES, Scene, Thing
from minivlm.recipes.settings import ClipSettings
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.recipes.trained_vlm import TrainedVLM
from minivlm.tensor import Array
from tests.recipes.small import SMALL, untrained_vlm

LETTERS = "abcdefghijklmnopqrstuvwxyz "


class Scripted(TrainedVLM):
    """Answers by a script, which is told the question and the scene, or None without a picture."""

    def __init__(self, script: Callable[[Scene | None, str], str], **changes):
        vlm = untrained_vlm(**changes)
        super().__init__(vlm.model, vlm.tokenizer, vlm.settings)
        self.script = script
        self.scenes: list[Scene] = []
        self.numbers: dict[bytes, int] = {}

    def meet(self, scenes: Sequence[Scene], images: Array) -> None:
        """Know the scenes behind pictures."""
        for scene, image in zip(scenes, images, strict=True):
            self.numbers[image.tobytes()] = len(self.scenes)
            self.scenes.append(scene)

    def look(self, images: Array) -> Array:
        """Features of the usual shape, of which the first is the number of the scene."""
        vision = self.model.config.vision
        seen = np.zeros((len(images), (vision.image // vision.patch) ** 2, vision.width), "f4")
        seen[:, 0, 0] = [self.numbers[image.tobytes()] for image in images]
        return seen

    def answers(self, seen: Array | None, questions: Sequence[str]) -> list[str]:
        """What the script says."""
        if seen is None:
            return [self.script(None, question) for question in questions]
        scenes = [self.scenes[int(number)] for number in seen[:, 0, 0]]
        return [self.script(*both) for both in zip(scenes, questions, strict=True)]


class Reciting(TrainedVLM):
    """Answers a conversation by what it says first, and remembers how it was asked."""

    def __init__(self, answers: dict[str, str]):
        vlm = untrained_vlm()
        super().__init__(vlm.model, vlm.tokenizer, vlm.settings)
        self.script = answers
        self.asked: list[tuple[Array | None, list[Turn]]] = []

    def stream(self, seen, turns, sampling=None, rng=None, tell=lambda token: None):
        self.asked.append((seen, list(turns)))
        yield from self.script[turns[0].text.strip()]


def lettered(**changes) -> TrainedVLM:
    """Random weights that write letters and spaces alone, and never come to an end."""
    vlm = untrained_vlm(**changes)
    table = vlm.model.decoder.tokens.weight.data
    others = np.ones(len(table), bool)
    others[vlm.tokenizer.encode(LETTERS)] = False
    table[others] = 0
    return vlm


def saved(vlm: TrainedVLM, folder: Path) -> Path:
    """The run folder that a model is saved in."""
    folder.mkdir(parents=True)
    vlm.save_config(folder)
    vlm.save_weights(folder)
    return folder


def untrained_towers(folder: Path) -> Path:
    """The run folder of two towers that were never trained."""
    folder.mkdir(parents=True)
    clip = TrainedCLIP.untrained(ClipSettings("scenes", **SMALL), ["a red star"])
    clip.save_config(folder)
    clip.save_weights(folder)
    return folder


def truth(scene: Scene | None, question: str) -> str:
    """The right answer, worked out from the words of the question; nothing without a picture."""
    if scene is None:
        return ""
    for pattern, answer in ANSWERS.items():
        if match := re.fullmatch(pattern, question):
            return answer(scene, *match.groups())
    raise AssertionError(f"no such question: {question}")


def _named(scene: Scene, words: str) -> list[Thing]:
    """The things that "star" or "red star" may mean."""
    *color, shape = words.split()
    return [t for t in scene.things if t.shape == shape and color in ([], [t.color])]


def _yes(true: object) -> str:
    return "yes" if true else "no"


def _related(scene: Scene, a: str, how: str, b: str) -> str:
    (first,), (second,) = _named(scene, a), _named(scene, b)
    (row, column), (other_row, other_column) = divmod(first.cell, 3), divmod(second.cell, 3)
    return _yes(
        {
            "to the left of": column < other_column,
            "to the right of": column > other_column,
            "above": row < other_row,
            "below": row > other_row,
        }[how]
    )


def _number(things: Sequence[Thing]) -> str:
    return ("zero", "one", "two", "three", "four")[len(things)]


def _at(scene: Scene, place: str) -> str:
    (thing,) = (t for t in scene.things if t.place == place)
    return f"{'an' if thing.color == 'orange' else 'a'} {thing.color} {thing.shape}"


_SHAPE = f"({'|'.join(SHAPES)})"
_HOW = "(to the left of|to the right of|above|below)"
ANSWERS: dict[str, Callable[..., str]] = {
    r"describe the image\.|what do you see\?": describe,
    r"what color is the background\?": lambda scene: scene.background,
    r"what color is the (.+)\?": lambda scene, name: _named(scene, name)[0].color,
    r"what shape is the (.+) object\?": lambda scene, color: next(
        t.shape for t in scene.things if t.color == color
    ),
    r"how many objects (?:are there|are in the image)\?": lambda scene: _number(scene.things),
    r"how many (.+) objects are there\?": lambda scene, color: _number(
        [t for t in scene.things if t.color == color]
    ),
    rf"how many {_SHAPE}e?s are there\?": lambda scene, shape: _number(_named(scene, shape)),
    r"is there an? (.+?)(?: in the image)?\?": lambda scene, name: _yes(_named(scene, name)),
    r"where is the (.+)\?": lambda scene, name: _named(scene, name)[0].place,
    r"is the (.+) small or large\?": lambda scene, name: _named(scene, name)[0].size,
    r"is the (.+) solid or striped\?": lambda scene, name: _named(scene, name)[0].texture,
    rf"is the (.+) {_HOW} the (.+)\?": _related,
    r"what is at the (.+)\?": _at,
}

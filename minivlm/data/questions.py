"""Questions about a scene, of eleven kinds, whose answers are known.

A question is asked only where its answer is clear: "what color is the star?" needs exactly one
star. Yes and no are equally frequent, and a no is often nearly right, so that answering from
habit does not pay.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minivlm.data.phrases import (
    NUMBERS,
    OPPOSITE,
    describe,
    name_of,
    relation,
    with_article,
)
from minivlm.data.scenes import BUDDIES, COLORS, HELD_OUT, SHAPES, Scene, Thing


@dataclass(frozen=True)
class Question:
    """A question with its answer.

    Attributes:
        kind: one of KINDS.
        text: the question, with its question mark or full stop.
        answer: a word, or for "what_at" and "describe" some more.
    """

    kind: str
    text: str
    answer: str


def ask(scene: Scene, kind: str, rng: np.random.Generator) -> Question | None:
    """A question of one kind about a scene; None where the scene allows none.

    Raises:
        KeyError: there is no such kind.
    """
    asked = _ASK[kind](scene, rng)
    return None if asked is None else Question(kind, *asked)


Asked = tuple[str, str] | None  # question and answer


def _color(scene: Scene, rng: np.random.Generator) -> Asked:
    thing = _pick(_alone(scene, "shape"), rng)
    return thing and (f"what color is the {thing.shape}?", thing.color)


def _shape(scene: Scene, rng: np.random.Generator) -> Asked:
    thing = _pick(_alone(scene, "color"), rng)
    return thing and (f"what shape is the {thing.color} object?", thing.shape)


def _count(scene: Scene, rng: np.random.Generator) -> Asked:
    what = rng.random()
    if what < 0.5:
        where = ("are there?", "are in the image?")[rng.integers(2)]
        return f"how many objects {where}", NUMBERS[len(scene.things)]
    thing = scene.things[rng.integers(len(scene.things))]
    present = rng.random() < 0.7
    if what < 0.75:
        color = thing.color if present else COLORS[rng.integers(8)]
        number = sum(other.color == color for other in scene.things)
        return f"how many {color} objects are there?", NUMBERS[number]
    shape = thing.shape if present else SHAPES[rng.integers(8)]
    number = sum(other.shape == shape for other in scene.things)
    return f"how many {plural(shape)} are there?", NUMBERS[number]


def _exist(scene: Scene, rng: np.random.Generator) -> Asked:
    yes = rng.random() < 0.5
    thing = scene.things[rng.integers(len(scene.things))]
    if rng.random() < 0.5:
        color, shape = (thing.color, thing.shape) if yes else _absent_pair(scene, thing, rng)
        return f"is there {with_article(f'{color} {shape}')}?", _yes_no(yes)
    shape = thing.shape
    if not yes:
        shape = _absent_shape(scene, thing, rng)
        if shape is None:
            return None
    where = ("?", " in the image?")[rng.integers(2)]
    return f"is there a {shape}{where}", _yes_no(yes)


def _where(scene: Scene, rng: np.random.Generator) -> Asked:
    thing = scene.things[rng.integers(len(scene.things))]
    only_one = thing in _alone(scene, "shape")
    name = thing.shape if only_one and rng.random() < 0.5 else _plain(thing)
    return f"where is the {name}?", thing.place


def _size(scene: Scene, rng: np.random.Generator) -> Asked:
    thing = scene.things[rng.integers(len(scene.things))]
    return f"is the {_plain(thing)} small or large?", thing.size


def _texture(scene: Scene, rng: np.random.Generator) -> Asked:
    thing = scene.things[rng.integers(len(scene.things))]
    return f"is the {_plain(thing)} solid or striped?", thing.texture


def _relation(scene: Scene, rng: np.random.Generator) -> Asked:
    if len(scene.things) < 2:
        return None
    a, b = (scene.things[i] for i in rng.permutation(len(scene.things))[:2])
    how, yes = relation(a, b, rng), rng.random() < 0.5
    how = how if yes else OPPOSITE[how]
    return f"is the {_plain(a)} {how} the {_plain(b)}?", _yes_no(yes)


def _background(scene: Scene, rng: np.random.Generator) -> Asked:
    return "what color is the background?", scene.background


def _what_at(scene: Scene, rng: np.random.Generator) -> Asked:
    thing = scene.things[rng.integers(len(scene.things))]
    return f"what is at the {thing.place}?", name_of(thing, size=False, texture=False)


def _describe(scene: Scene, rng: np.random.Generator) -> Asked:
    return ("describe the image.", "what do you see?")[rng.integers(2)], describe(scene)


_ASK: dict[str, Callable[[Scene, np.random.Generator], Asked]] = {
    "color": _color,
    "shape": _shape,
    "count": _count,
    "exist": _exist,
    "where": _where,
    "size": _size,
    "texture": _texture,
    "relation": _relation,
    "background": _background,
    "what_at": _what_at,
    "describe": _describe,
}
KINDS = tuple(_ASK)


def plural(shape: str) -> str:
    """A shape's plural: "stars", "crosses"."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def _plain(thing: Thing) -> str:
    return f"{thing.color} {thing.shape}"


def _yes_no(yes: bool) -> str:
    return "yes" if yes else "no"


def _alone(scene: Scene, attribute: str) -> list[Thing]:
    """The things whose colour, or whose shape, no other thing has."""
    seen = [getattr(thing, attribute) for thing in scene.things]
    return [thing for thing in scene.things if seen.count(getattr(thing, attribute)) == 1]


def _pick(things: list[Thing], rng: np.random.Generator) -> Thing | None:
    return things[rng.integers(len(things))] if things else None


def _absent_pair(scene: Scene, thing: Thing, rng: np.random.Generator) -> tuple[str, str]:
    """A colour and a shape that no thing has together; half the time one is the thing's own.

    Held-out pairs are not asked for: training would teach that they never are there.
    """
    taken = {(other.color, other.shape) for other in scene.things} | HELD_OUT
    while True:
        nearly = rng.random() < 0.5
        keep_color = rng.random() < 0.5
        color, shape = COLORS[rng.integers(8)], SHAPES[rng.integers(8)]
        if nearly and keep_color:
            color = thing.color
        elif nearly:
            shape = thing.shape
        if (color, shape) not in taken:
            return color, shape


def _absent_shape(scene: Scene, thing: Thing, rng: np.random.Generator) -> str | None:
    """A shape that no thing has: often the buddy of one that is there; None if all are there."""
    absent = [s for s in SHAPES if all(other.shape != s for other in scene.things)]
    if not absent:
        return None
    if BUDDIES[thing.shape] in absent and rng.random() < 0.5:
        return BUDDIES[thing.shape]
    return absent[rng.integers(len(absent))]

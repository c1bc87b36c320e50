"""What can be said of a scene: names, captions of varied grammar, a full description.

A caption leaves things out at random, as people do; whatever it says is true.
"""

import numpy as np

from minivlm.data.scenes import Scene, Thing

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PREFIXES = ("a picture of ", "an image of ", "there is ", "a photo of ")
OPPOSITE = {"to the left of": "to the right of", "above": "below"}
OPPOSITE |= {b: a for a, b in OPPOSITE.items()}


def name_of(thing: Thing, size: bool = True, texture: bool = True, place: bool = False) -> str:
    """A thing with its article: "a small striped red star at the top left".

    Solid things are not said to be solid; size, stripes and place are said if asked for.
    """
    words = [thing.size] if size else []
    if texture and thing.texture == "striped":
        words.append("striped")
    words += [thing.color, thing.shape]
    name = with_article(" ".join(words))
    return f"{name} at the {thing.place}" if place else name


def with_article(words: str) -> str:
    """The words after "a" or "an"."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def listed(names: list[str]) -> str:
    """Names with commas between them and "and" before the last."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def describe(scene: Scene) -> str:
    """Everything about a scene, in reading order: the one canonical description."""
    names = [name_of(thing, place=True) for thing in scene.things]
    return f"{listed(names)} on a {scene.background} background"


def full_caption(scene: Scene) -> str:
    """Everything but the places, which are told for at most two things: retrieval's text."""
    names = [name_of(thing, place=len(scene.things) <= 2) for thing in scene.things]
    return f"{listed(names)} on a {scene.background} background"


def relations(a: Thing, b: Thing) -> list[str]:
    """What is true of a's cell seen from b's: one phrase, or two for a diagonal."""
    (a_row, a_column), (b_row, b_column) = divmod(a.cell, 3), divmod(b.cell, 3)
    true = []
    if a_column != b_column:
        true.append("to the left of" if a_column < b_column else "to the right of")
    if a_row != b_row:
        true.append("above" if a_row < b_row else "below")
    return true


def relation(a: Thing, b: Thing, rng: np.random.Generator) -> str:
    """One of the true relations of a to b."""
    true = relations(a, b)
    return true[rng.integers(len(true))]


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Something true about a scene, as somebody might put it.

    Sizes, stripes, places and the background are told or left out, things come in any order, two
    things may be told by their relation. Places are told for two things at most: with more,
    captions got long and training slow.
    """
    things = list(scene.things)
    size, texture = rng.random() < 0.6, rng.random() < 0.8
    if len(things) == 2 and rng.random() < 0.4:
        a, b = (things[i] for i in rng.permutation(2))
        how = relation(a, b, rng)
        words = f"{name_of(a, size, texture)} {how} {name_of(b, size, texture)}"
    else:
        place = len(things) <= 2 and rng.random() < 0.5
        if rng.random() < 0.3:
            things = [things[i] for i in rng.permutation(len(things))]
        words = listed([name_of(thing, size, texture, place) for thing in things])
    if rng.random() < 0.25:
        words = PREFIXES[rng.integers(len(PREFIXES))] + words
    elif len(things) > 1 and rng.random() < 0.25:
        words = f"{NUMBERS[len(things)]} objects: {words}"
    if rng.random() < 0.4:
        words += f" on a {scene.background} background"
    return words

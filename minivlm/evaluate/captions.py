"""What a caption says of a scene, and how much of it is so.

CHAIR counts the things that are mentioned and are not there. A caption that repeats one thing it
is sure of, or says nothing, has a perfect CHAIR, so recall and whole captions stand beside it.

Source: Rohrbach et al. 2018, arXiv:1809.02156, section 3 (CHAIR-i).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from minivlm.data.phrases import describe
from minivlm.data.scenes import BACKGROUNDS, COLORS, PLACES, SHAPES, Scene

_COLOR, _SHAPE = "|".join(COLORS), "|".join(SHAPES)
_PLACE = "|".join(sorted(PLACES, key=len, reverse=True))  # "top left" before "top"
_MENTION = re.compile(rf"\b(?:({_COLOR}) )?({_SHAPE})\b(?: at the ({_PLACE})\b)?")
_BACKGROUND = re.compile(rf"\b({'|'.join(BACKGROUNDS)}) background\b")


@dataclass(frozen=True)
class Mention:
    """A thing that a caption speaks of; what it leaves open is None."""

    shape: str
    color: str | None
    place: str | None


@dataclass(frozen=True)
class CaptionScores:
    """How captions of scenes compare with what is there; each is a share, 0..1.

    Attributes:
        exact: captions that are the canonical description, word for word.
        chair: of the things mentioned, those that are not there: CHAIR-i.
        recall: of the things there, those mentioned.
        position: of the mentions that are right and tell a place, those whose place is right.
        background: captions that name the right background.
        number: captions that mention as many things as there are.
        count: captions.
    """

    exact: float
    chair: float
    recall: float
    position: float
    background: float
    number: float
    count: int


def mentions(caption: str) -> list[Mention]:
    """The things that a caption speaks of, in its order."""
    return [
        Mention(shape, color or None, place or None)
        for color, shape, place in _MENTION.findall(caption)
    ]


def score_captions(captions: Sequence[str], scenes: Sequence[Scene]) -> CaptionScores:
    """Hold captions against their scenes.

    Raises:
        ValueError: they differ in number, or there are none.
    """
    if len(captions) != len(scenes) or not scenes:
        raise ValueError(f"{len(captions)} captions cannot be of {len(scenes)} scenes")
    mentioned = invented = there = found = placed = well_placed = backgrounds = numbers = 0
    for caption, scene in zip(captions, scenes, strict=True):
        said = mentions(caption)
        right = [_matching(mention, scene) for mention in said]
        mentioned += len(said)
        invented += sum(not places for places in right)
        there += len(scene.things)
        found += sum(
            any(m.shape == thing.shape and m.color in (None, thing.color) for m in said)
            for thing in scene.things
        )
        for mention, places in zip(said, right, strict=True):
            if places and mention.place:
                placed += 1
                well_placed += mention.place in places
        numbers += len(said) == len(scene.things)
        background = _BACKGROUND.search(caption)
        backgrounds += background is not None and background[1] == scene.background
    exact = sum(c.strip() == describe(s) for c, s in zip(captions, scenes, strict=True))
    n = len(scenes)
    return CaptionScores(
        exact=exact / n,
        chair=invented / max(1, mentioned),
        recall=found / there,
        position=well_placed / max(1, placed),
        background=backgrounds / n,
        number=numbers / n,
        count=n,
    )


def _matching(mention: Mention, scene: Scene) -> set[str]:
    """The places of the things that a mention may mean; empty where it is made up."""
    return {
        thing.place
        for thing in scene.things
        if thing.shape == mention.shape and mention.color in (None, thing.color)
    }

"""Generated scenes: every caption is true, every answer known, and two kinds of test.

Single objects are named among 64 prompts; eight colour-shape pairs are in no training picture, so
naming them shows whether colour and shape were learnt apart. Retrieval and probes use scenes of
several objects. Test scenes come from seeds of their own, on which nothing was ever chosen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from tqdm import tqdm

from minivlm.data.batches import bucketed, same_words
from minivlm.data.draw import make_scenes
from minivlm.data.phrases import caption, full_caption, name_of, relation, with_article
from minivlm.data.scenes import (
    BACKGROUNDS,
    COLORS,
    HELD_OUT,
    PLACES,
    SHAPES,
    SIZES,
    TEXTURES,
    Scene,
    Thing,
)
from minivlm.evaluate.probes import choice, preference
from minivlm.evaluate.retrieval import recall
from minivlm.evaluate.score import Score
from minivlm.evaluate.zero_shot import class_embeddings, predict
from minivlm.recipes.settings import MOST_SEEDS, ClipSettings
from minivlm.recipes.tasks import Batch, Gallery
from minivlm.recipes.trained_clip import TrainedCLIP

BUCKETS = (1, 2, 3, 4)  # things in a scene
BUCKET_WEIGHTS = (0.50, 0.25, 0.17, 0.08)
TEMPLATES = ("{}", "a picture of {}", "an image of {}", "a photo of {}")
TRAIN, VALIDATION, TEST = (k * MOST_SEEDS for k in (1, 2, 3))  # apart, whatever the run's seed


class ScenesTask:
    """Scenes drawn anew for each seed; see `Task`."""

    def __init__(self, settings: ClipSettings, test_seed: int = TEST):
        self.settings, self.batch = settings, settings.batch
        self.test_seed = test_seed
        self.notes: list[str] = []
        self.scenes: list[Scene] = []
        self.images = np.empty(0, np.uint8)

    def draw(self) -> None:
        """Draw the training scenes; evaluation alone does not need them."""
        s = self.settings
        self.scenes, self.images = training_scenes(s.examples, s.seed, s.image)

    def texts(self) -> list[str]:
        """One caption for each of some thousand training scenes."""
        if not self.scenes:
            self.draw()
        rng = np.random.default_rng((self.settings.seed, 1))
        return [caption(scene, rng) for scene in self.scenes[:4000]]

    def batches(self, start: int) -> Iterator[Batch]:
        """Scenes with the same number of things, each with a caption made up on the spot."""
        if not self.scenes:
            self.draw()
        s = self.settings
        counts = np.array([len(scene.things) for scene in self.scenes])
        buckets = [np.flatnonzero(counts == n) for n in BUCKETS]
        picks = bucketed(buckets, BUCKET_WEIGHTS, s.batch, s.seed, start)
        for step, pick in zip(itertools.count(start), picks, strict=False):
            rng = np.random.default_rng((s.seed, 2, step))
            captions = [caption(self.scenes[i], rng) for i in pick]
            yield Batch(self.images[pick], captions, same_words(captions))

    def gallery(self) -> Gallery:
        """Sixteen test scenes of one to four things."""
        return Gallery(*_distinct(*self._test(64), 16))

    def evaluate(self, clip: TrainedCLIP) -> list[Score]:
        """Zero-shot by attribute, retrieval, and what CLIP is known not to learn."""
        return [*self._zero_shot(clip), *self._retrieval(clip), *self._probes(clip)]

    def _test(
        self, count: int, things: int | None = None, held_out: bool = False
    ) -> tuple[list[Scene], np.ndarray]:
        seed = self.test_seed + (things or 0) + (100 if held_out else 0)
        return drawn(count, seed, self.settings.image, things, held_out)

    def _zero_shot(self, clip: TrainedCLIP) -> Iterator[Score]:
        pairs = list(itertools.product(COLORS, SHAPES))
        names = [with_article(f"{color} {shape}") for color, shape in pairs]
        classes = class_embeddings(clip.text_embeddings, names, TEMPLATES)
        for held_out, where in ((False, ""), (True, ", unseen pairs")):
            scenes, images = self._test(1000, things=1, held_out=held_out)
            embedded = clip.image_embeddings(images)
            things = [scene.things[0] for scene in scenes]
            said = [pairs[i] for i in predict(embedded, classes)]
            right = [(thing.color, thing.shape) for thing in things]
            yield Score.of_hits(
                f"zero-shot of 64{where}",
                [a == b for a, b in zip(said, right, strict=True)],
                1 / 64,
            )
            for part, (name, words) in enumerate((("color", COLORS), ("shape", SHAPES))):
                hits = [a[part] == b[part] for a, b in zip(said, right, strict=True)]
                yield Score.of_hits(f"  {name}{where}", hits, 1 / len(words))
            if held_out:
                continue
            for name, words in (("size", SIZES), ("texture", TEXTURES)):
                options = [
                    [name_of(replace(thing, **{name: word})) for word in words] for thing in things
                ]
                answers = [words.index(getattr(thing, name)) for thing in things]
                yield choice(f"  {name}", embedded, clip.text_embeddings, options, answers)
            options = [
                [f"{name_of(thing)} on a {word} background" for word in BACKGROUNDS]
                for thing in things
            ]
            answers = [BACKGROUNDS.index(scene.background) for scene in scenes]
            yield choice("  background", embedded, clip.text_embeddings, options, answers)

    def _retrieval(self, clip: TrainedCLIP) -> Iterator[Score]:
        images, captions = _distinct(*self._test(600), 256)
        similarity = clip.image_embeddings(images) @ clip.text_embeddings(captions).T
        for name, matrix in (("text", similarity), ("image", similarity.T)):
            for k, value in recall(matrix).items():
                count = len(matrix)
                yield Score(f"{name} recall@{k} of {count}", value, k / count, count)

    def _probes(self, clip: TrainedCLIP) -> Iterator[Score]:
        scenes, images = self._test(500, things=2)
        embedded = clip.image_embeddings(images)
        rng = np.random.default_rng(self.test_seed)
        rows, right, wrong = [], [], []
        for row, scene in enumerate(scenes):
            a, b = scene.things
            swapped = replace(a, color=b.color), replace(b, color=a.color)
            if a.color == b.color or a.shape == b.shape or any(map(_is_held_out, swapped)):
                continue  # the same words, or words that no caption has and that stand out
            rows.append(row)
            right.append(_both(a, b))
            wrong.append(_both(*swapped))
        yield preference(
            "binding: colours swapped", embedded[rows], clip.text_embeddings, right, wrong
        )
        right, wrong = [], []
        for scene in scenes:
            a, b = scene.things
            words = relation(a, b, rng)
            right.append(f"{_plain(a)} {words} {_plain(b)}")
            wrong.append(f"{_plain(b)} {words} {_plain(a)}")
        yield preference("relation: sides swapped", embedded, clip.text_embeddings, right, wrong)
        scenes, images = self._test(1000, things=1)
        things = [scene.things[0] for scene in scenes]
        options = [[f"{_plain(thing)} at the {place}" for place in PLACES] for thing in things]
        answers = [thing.cell for thing in things]
        embedded = clip.image_embeddings(images)
        yield choice("position: nine places", embedded, clip.text_embeddings, options, answers)


@lru_cache(maxsize=1)
def training_scenes(examples: int, seed: int, size: int) -> tuple[list[Scene], np.ndarray]:
    """The scenes that a run of this seed learns from, the same for an eye and for a tongue."""
    bar = partial(tqdm, desc="drawing scenes", unit="scene", dynamic_ncols=True)
    return make_scenes(examples, TRAIN + seed, size, progress=bar)


@lru_cache(maxsize=8)
def drawn(
    count: int, seed: int, size: int, things: int | None, held_out: bool
) -> tuple[list[Scene], np.ndarray]:
    """Test scenes, which are asked for again and again, drawn once."""
    return make_scenes(count, seed, size, things, held_out)


def _plain(thing: Thing) -> str:
    return name_of(thing, size=False, texture=False)


def _both(a: Thing, b: Thing) -> str:
    return f"{_plain(a)} and {_plain(b)}"


def _is_held_out(thing: Thing) -> bool:
    return (thing.color, thing.shape) in HELD_OUT


def _distinct(scenes: list[Scene], images: np.ndarray, most: int) -> tuple[np.ndarray, list[str]]:
    """The first `most` scenes whose full captions differ, for a match must be unique."""
    first = {full_caption(scene): i for i, scene in reversed(list(enumerate(scenes)))}
    chosen = sorted(first.items(), key=lambda item: item[1])[:most]
    return images[[i for _, i in chosen]], [words for words, _ in chosen]

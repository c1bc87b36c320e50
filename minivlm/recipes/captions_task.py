"""A user's own pictures and captions, from a folder, a table or archives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minivlm.data.batches import same_words, shuffled
from minivlm.data.captions import load_captions
from minivlm.errors import InputError
from minivlm.evaluate.retrieval import recall
from minivlm.evaluate.score import Score
from minivlm.recipes.settings import ClipSettings
from minivlm.recipes.tasks import Batch, Gallery
from minivlm.recipes.trained_clip import TrainedCLIP

HELD_OUT_SHARE = 0.1
FEWEST = 20  # pictures; with fewer, none are held out


class CaptionsTask:
    """Captioned pictures, a tenth of them held out; see `Task`."""

    def __init__(self, settings: ClipSettings):
        s = self.settings = settings
        self.images, self.captions, self.notes = load_captions(
            Path(s.data),
            s.image,
            image_column=s.image_column,
            caption_column=s.caption_column,
            images=None if s.images is None else Path(s.images),
            skip_bad=s.skip_bad,
        )
        count = len(self.images)
        if count < 2:
            raise InputError(f"{s.data}: one picture is not enough to tell pairs apart")
        order = np.random.default_rng(0).permutation(count)  # the same split for every seed
        held_out = round(count * HELD_OUT_SHARE) if count >= FEWEST else 0
        self.test, self.train = order[:held_out], order[held_out:]
        self.batch = min(s.batch, len(self.train))
        if not held_out:
            self.test = self.train
            self.notes.append(
                f"{count} pictures are too few to hold any out: scores are on the training pictures"
            )

    def texts(self) -> list[str]:
        """Every caption of a training picture."""
        return [text for i in self.train for text in self.captions[i]]

    def batches(self, start: int) -> Iterator[Batch]:
        """Distinct pictures, each with one of its captions."""
        s = self.settings
        picks = shuffled(len(self.train), self.batch, s.seed, start)
        for step, pick in zip(itertools.count(start), picks, strict=False):
            rng = np.random.default_rng((s.seed, 2, step))
            rows = self.train[pick]
            captions = [self.captions[i][rng.integers(len(self.captions[i]))] for i in rows]
            yield Batch(self.images[rows], captions, same_words(captions))

    def gallery(self) -> Gallery:
        """Up to sixteen held-out pictures whose first captions differ."""
        first = {self.captions[i][0]: i for i in self.test[::-1]}
        rows = list(first.values())[::-1][:16]
        return Gallery(self.images[rows], [self.captions[i][0] for i in rows])

    def evaluate(self, clip: TrainedCLIP) -> list[Score]:
        """Recall both ways; each of a picture's captions counts as right for it."""
        texts = sorted({text for i in self.test for text in self.captions[i]})
        belongs = np.array([[text in set(self.captions[i]) for text in texts] for i in self.test])
        images = clip.image_embeddings(self.images[self.test])
        similarity = images @ clip.text_embeddings(texts).T
        scores = []
        for name, matrix, right in (
            ("text", similarity, belongs),
            ("image", similarity.T, belongs.T),
        ):
            chance = right.sum(1).mean() / right.shape[1]
            for k, value in recall(matrix, right).items():
                label = f"{name} recall@{k} of {right.shape[1]}"
                scores.append(Score(label, value, min(1.0, k * chance), len(matrix)))
        return scores

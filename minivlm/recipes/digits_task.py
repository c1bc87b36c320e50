"""Real handwriting: 1,797 digits of eight by eight pixels, and the words for them.

Ten classes fill a batch with equal captions, so several texts are right for each picture; the
loss is told which (`positives`).

Source: Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits", in scikit-learn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from minivlm.data.batches import shuffled
from minivlm.data.digits import DIGIT_WORDS, TEMPLATES, captions, load_digits
from minivlm.evaluate.score import Score
from minivlm.evaluate.zero_shot import class_embeddings, predict
from minivlm.recipes.settings import ClipSettings
from minivlm.recipes.tasks import Batch, Gallery
from minivlm.recipes.trained_clip import TrainedCLIP


class DigitsTask:
    """The digits of scikit-learn, split once and for all; see `Task`."""

    def __init__(self, settings: ClipSettings):
        self.settings, self.batch = settings, settings.batch
        self.notes: list[str] = []
        self.splits = load_digits(settings.image)

    def texts(self) -> list[str]:
        """Every template with every word."""
        return [t.format(word) for t in TEMPLATES for word in DIGIT_WORDS]

    def batches(self, start: int) -> Iterator[Batch]:
        """Digits, each moved by up to a pixel, with a random template around its word."""
        s, train = self.settings, self.splits["train"]
        picks = shuffled(len(train.labels), s.batch, s.seed, start)
        for step, pick in zip(itertools.count(start), picks, strict=False):
            rng = np.random.default_rng((s.seed, 2, step))
            labels = train.labels[pick]
            images = moved(train.images[pick], rng)
            yield Batch(images, captions(labels, rng), labels[:, None] == labels)

    def gallery(self) -> Gallery:
        """One test picture of each digit."""
        test = self.splits["test"]
        first = [int(np.flatnonzero(test.labels == n)[0]) for n in range(10)]
        return Gallery(test.images[first], [f"a handwritten {word}" for word in DIGIT_WORDS])

    def evaluate(self, clip: TrainedCLIP) -> list[Score]:
        """Zero-shot among ten words, by one prompt and by the mean of all templates."""
        test = self.splits["test"]
        embedded = clip.image_embeddings(test.images)
        scores = []
        for name, templates in (("one prompt", TEMPLATES[:1]), ("prompt ensemble", TEMPLATES)):
            classes = class_embeddings(clip.text_embeddings, DIGIT_WORDS, templates)
            hits = predict(embedded, classes) == test.labels
            scores.append(Score.of_hits(f"zero-shot of 10, {name}", hits, 1 / 10))
        return scores


def moved(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each picture (N, S, S, 3) shifted by −1, 0 or 1 pixels each way; what leaves is lost."""
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    side = images.shape[1]
    corners = rng.integers(0, 3, (len(images), 2))
    return np.stack(
        [f[y : y + side, x : x + side] for f, (y, x) in zip(framed, corners, strict=True)]
    )

"""What a contrastive run learns from and is measured on: one interface, three sources.

A task hands out batches of pictures and captions, and measures a trained model on pictures that
it never handed out. The training recipe does not know which source it runs on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from minivlm.evaluate.score import Score
from minivlm.recipes.settings import ClipSettings
from minivlm.recipes.trained_clip import TrainedCLIP


class Batch(NamedTuple):
    """Pictures uint8 (N, S, S, 3), a caption for each, and who else is right.

    `positives` is True where image n and text m belong together (N, N); None means the diagonal.
    """

    images: np.ndarray
    captions: list[str]
    positives: np.ndarray | None


class Gallery(NamedTuple):
    """Held-out pictures uint8 (N, S, S, 3) with distinct captions, to be looked at."""

    images: np.ndarray
    captions: list[str]


class Task(Protocol):
    """Where pictures and words come from."""

    settings: ClipSettings
    batch: int  # pairs in a batch, which small data may make smaller than was asked for
    notes: list[str]  # what a user should know about the data, such as files that were left out

    def texts(self) -> Sequence[str]:
        """Texts to train the tokenizer on."""
        ...

    def batches(self, start: int) -> Iterator[Batch]:
        """Batches of step `start`, `start + 1`, …, the same whenever asked."""
        ...

    def gallery(self) -> Gallery:
        """A few held-out pairs, for the similarity matrix and the retrieval grid."""
        ...

    def evaluate(self, clip: TrainedCLIP) -> list[Score]:
        """What the model knows, on pictures that training never saw."""
        ...


def open_task(settings: ClipSettings) -> Task:
    """The task that the setting `data` names: reads or draws its pictures.

    Raises:
        InputError: the data is missing or bad.
    """
    if settings.data == "scenes":
        from minivlm.recipes.scenes_task import ScenesTask

        return ScenesTask(settings)
    if settings.data == "digits":
        from minivlm.recipes.digits_task import DigitsTask

        return DigitsTask(settings)
    from minivlm.recipes.captions_task import CaptionsTask

    return CaptionsTask(settings)

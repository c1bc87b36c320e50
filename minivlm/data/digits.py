"""Real handwriting: 1,797 digits of 8 by 8 pixels by 13 people, and words for them.

Small enough to train on within seconds, and real enough to be surprised by.

Source: Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits", the part that
scikit-learn ships.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minivlm.data.image import resize_and_crop
from minivlm.errors import InputError

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATES = (
    "a photo of the digit {}",
    "a handwritten {}",
    "the number {}",
    "a scan of a {} written by hand",
    "someone wrote the digit {}",
    "a small picture of the number {}",
)

SIDE = 8  # pixels
SPLITS = {"train": 1297, "validation": 100, "test": 400}


class Digits(NamedTuple):
    """Pictures of digits, white on black, uint8 (N, S, S, 3), and which digit each is, int (N,)."""

    images: np.ndarray
    labels: np.ndarray


def load_digits(size: int = SIDE, seed: int = 0) -> dict[str, Digits]:
    """The digits, split into "train", "validation" and "test", which share no picture.

    Args:
        size: side of a picture in pixels; other than 8, the pictures are resized smoothly.
        seed: decides the split, and nothing else does.

    Raises:
        InputError: scikit-learn, which brings the pictures, is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise InputError('digits come with scikit-learn: pip install "minivlm[digits]"') from None
    ink, labels = datasets.load_digits(return_X_y=True)  # 0..16
    grey = np.rint(ink * (255 / 16)).astype(np.uint8).reshape(-1, SIDE, SIDE, 1)
    images = np.repeat(grey, 3, axis=3)
    if size != SIDE:
        images = np.stack([resize_and_crop(image, size) for image in images])
    order = np.random.default_rng(seed).permutation(len(labels))
    ends = np.cumsum(list(SPLITS.values()))[:-1]
    parts = zip(SPLITS, np.split(order, ends), strict=True)
    return {name: Digits(images[part], labels[part]) for name, part in parts}


def captions(labels: Sequence[int] | np.ndarray, rng: np.random.Generator) -> list[str]:
    """A caption for each digit, in a template drawn for it."""
    picks = rng.integers(len(TEMPLATES), size=len(labels))
    return [TEMPLATES[t].format(DIGIT_WORDS[n]) for t, n in zip(picks, labels, strict=True)]

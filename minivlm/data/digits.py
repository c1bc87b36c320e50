"""Real handwriting: 1,797 digits of eight by eight pixels from 43 people.

Source: Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits", as scikit-learn
ships them.
"""

from typing import NamedTuple

import numpy as np

from minivlm.errors import InputError

DIGIT_WORDS = (
    *("zero", "one", "two", "three", "four"),
    *("five", "six", "seven", "eight", "nine"),
)
TEMPLATES = (
    "a photo of the digit {}",
    "the number {}",
    "a handwritten {}",
    "an image of a {}",
    "{}",
    "a blurry photo of the number {}",
)
SIZES = {"train": 1297, "validation": 100, "test": 400}


class Digits(NamedTuple):
    """Pictures uint8 (N, 8, 8, 3) and which digit each shows, (N,)."""

    images: np.ndarray
    labels: np.ndarray


def load_digits() -> dict[str, Digits]:
    """The digits as "train", "validation" and "test", always split in the same way.

    Raises:
        InputError: scikit-learn, which holds them, is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise InputError('digits come with scikit-learn: pip install "minivlm[digits]"') from None
    features, labels = datasets.load_digits(return_X_y=True)
    grey = (features * (255 / 16)).round().astype(np.uint8).reshape(-1, 8, 8, 1)
    order = np.random.default_rng(0).permutation(len(labels))
    splits, start = {}, 0
    for name, count in SIZES.items():
        part = order[start : start + count]
        splits[name] = Digits(np.repeat(grey[part], 3, axis=-1), labels[part])
        start += count
    return splits

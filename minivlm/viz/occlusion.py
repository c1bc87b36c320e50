"""What an answer depends on: cover each patch in turn, and see how far the score falls.

Source: Zeiler and Fergus 2013, arXiv:1311.2901, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minivlm.viz.patches import patches_a_side, place_of


def occlusion(
    score: Callable[[np.ndarray], np.ndarray], image: np.ndarray, patch: int
) -> np.ndarray:
    """How far the score falls when a patch is painted over with the picture's median colour.

    Args:
        score: pictures uint8 (B, S, S, 3) -> numbers (B,), such as cosines with a text.
        image: uint8 (S, S, 3).
        patch: side of a patch in pixels; it divides S.

    Returns:
        The fall for each patch (n, n), negative where covering it helps.

    Raises:
        ValueError: the patches do not cover the picture.
    """
    n = patches_a_side(image, patch)
    paint = np.median(image.reshape(-1, 3), axis=0).astype(np.uint8)
    covered = np.repeat(image[None], n * n, axis=0)
    for number, copy in enumerate(covered):
        copy[place_of(number, n, patch)] = paint
    return (score(image[None]) - score(covered)).reshape(n, n)

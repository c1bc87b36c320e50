"""Questions with wrong answers made on purpose: what has a model learnt, and what not?

A pair of texts that differ in one thing (which thing is red, which stands left) asks for that
thing alone. Where a model scores no better than chance, it has not learnt to tell.

Source: the idea of Winoground, Thrush et al. 2022, arXiv:2204.03162, and of ARO, Yuksekgonul et
al. 2022, arXiv:2210.01936.
"""

from collections.abc import Sequence

import numpy as np

from minivlm.evaluate.score import Score
from minivlm.evaluate.zero_shot import EncodeTexts


def preference(
    name: str,
    images: np.ndarray,
    encode_texts: EncodeTexts,
    right: Sequence[str],
    wrong: Sequence[str],
) -> Score:
    """How often a picture is nearer its right text than its wrong one; a tie counts half.

    Args:
        name: what is asked.
        images: embeddings of unit length (B, E).
        encode_texts: texts -> embeddings of unit length.
        right: a true text for each picture.
        wrong: a false text for each picture.

    Raises:
        ValueError: there are not as many texts as pictures.
    """
    if not len(images) == len(right) == len(wrong):
        raise ValueError(f"{len(images)} pictures, {len(right)} and {len(wrong)} texts")
    near = (images * encode_texts(list(right))).sum(1)
    far = (images * encode_texts(list(wrong))).sum(1)
    return Score.of_hits(name, np.where(near == far, 0.5, near > far), chance=0.5)


def choice(
    name: str,
    images: np.ndarray,
    encode_texts: EncodeTexts,
    options: Sequence[Sequence[str]],
    answers: Sequence[int],
) -> Score:
    """How often the nearest of a picture's options is the right one.

    Args:
        name: what is asked.
        images: embeddings of unit length (B, E).
        encode_texts: texts -> embeddings of unit length.
        options: texts to choose among for each picture, equally many.
        answers: index of the right option for each picture.

    Raises:
        ValueError: there are not as many answers as pictures, or options differ in number.
    """
    count = len(options[0]) if options else 0
    if not len(images) == len(options) == len(answers) or any(len(o) != count for o in options):
        raise ValueError(f"{len(images)} pictures, {len(options)} options, {len(answers)} answers")
    texts = sorted({text for texts in options for text in texts})  # each is embedded once
    number = {text: i for i, text in enumerate(texts)}
    cosines = images @ encode_texts(texts).T  # (B, K)
    columns = np.array([[number[text] for text in row] for row in options])
    chosen = np.take_along_axis(cosines, columns, 1).argmax(1)
    return Score.of_hits(name, chosen == np.asarray(answers), chance=1 / count)

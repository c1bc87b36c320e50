"""`minivlm classify` and `minivlm search`: a trained CLIP at work on a user's pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivlm.data.image import SUFFIXES, open_image, resize_and_crop
from minivlm.errors import InputError
from minivlm.evaluate.zero_shot import class_embeddings
from minivlm.ops.normalize import softmax_arrays
from minivlm.recipes.trained_clip import TrainedCLIP


class Named(NamedTuple):
    """A picture's probability of each label, which sum to 1."""

    path: Path
    probabilities: np.ndarray


class Found(NamedTuple):
    """A picture and its cosine with the text searched for."""

    path: Path
    cosine: float


def classify(
    clip: TrainedCLIP, labels: Sequence[str], paths: Sequence[Path], templates: Sequence[str]
) -> list[Named]:
    """Which label fits each picture, among those given.

    Args:
        clip: a trained model.
        labels: what a picture may be called, at least one.
        paths: picture files.
        templates: prompts around a label, with {} for it; their embeddings are averaged.

    Raises:
        InputError: no labels, a label twice, a template without {}, or an unreadable picture.
    """
    if not labels or "" in labels:
        raise InputError("labels are empty: give them as --labels cat,dog")
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if list(labels).count(label) > 1)
        raise InputError(f'label "{twice}" is given twice')
    for template in templates:
        if template.count("{}") != 1:
            raise InputError(f'template "{template}" needs one {{}} where the label goes')
    classes = class_embeddings(clip.text_embeddings, labels, templates)
    cosines = clip.image_embeddings(_read(clip, paths)) @ classes.T
    scale = np.exp(clip.model.log_scale.data)
    probabilities, _ = softmax_arrays(scale * cosines, -1)
    return [Named(*pair) for pair in zip(paths, probabilities, strict=True)]


def search(clip: TrainedCLIP, text: str, folder: Path, most: int) -> list[Found]:
    """The pictures below a folder that fit a text best, best first.

    Raises:
        InputError: the folder is missing or holds no picture, or a picture is unreadable.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise InputError(f"{folder}: no pictures ({', '.join(sorted(SUFFIXES))})")
    cosines = clip.image_embeddings(_read(clip, paths)) @ clip.text_embeddings([text])[0]
    best = np.argsort(-cosines, kind="stable")[:most]
    return [Found(paths[i], float(cosines[i])) for i in best]


def _read(clip: TrainedCLIP, paths: Sequence[Path]) -> np.ndarray:
    side = clip.settings.image
    return np.stack([resize_and_crop(open_image(path), side) for path in paths])

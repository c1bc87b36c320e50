"""Naming pictures by classes that are only words: no classifier is trained.

A class is the mean direction of a few prompts about it; a picture belongs to the class whose
direction is nearest its own.

Source: Radford et al. 2021, arXiv:2103.00020, section 3.1; mlfoundations/open_clip,
src/open_clip/zero_shot_classifier.py.
"""

from collections.abc import Callable, Sequence

import numpy as np

EncodeTexts = Callable[[list[str]], np.ndarray]


def class_embeddings(
    encode_texts: EncodeTexts, names: Sequence[str], templates: Sequence[str] = ("{}",)
) -> np.ndarray:
    """One direction for each class.

    Args:
        encode_texts: texts -> embeddings of unit length (count, E).
        names: of the classes.
        templates: prompts, with {} where a name goes; their embeddings are averaged.

    Returns:
        Embeddings of unit length (K, E).

    Raises:
        ValueError: there is no name or no template.
    """
    if not names or not templates:
        raise ValueError("zero-shot classification needs names and templates")
    prompts = [template.replace("{}", name) for name in names for template in templates]
    embedded = encode_texts(prompts)
    mean = embedded.reshape(len(names), len(templates), -1).mean(1)  # (K, E)
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)


def predict(images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The class nearest each picture: embeddings (B, E), (K, E) -> indices (B,)."""
    if images.shape[-1] != classes.shape[-1]:
        raise ValueError(f"embeddings {images.shape} and {classes.shape} differ in width")
    return (images @ classes.T).argmax(1)

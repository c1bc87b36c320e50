"""Scenes that a milestone asks for, drawn small: as many as wanted, and only such as it wants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minivlm.data.draw import SMALLEST, draw
from minivlm.data.scenes import Scene, sample_scene


def some_scenes(
    count: int,
    things: int,
    rng: np.random.Generator,
    wanted: Callable[[Scene], bool] = lambda scene: True,
) -> tuple[list[Scene], np.ndarray]:
    """Random scenes and their pictures.

    Args:
        count: N, how many.
        things: in each scene.
        rng: decides everything.
        wanted: others are not drawn.

    Returns:
        The scenes, and their pictures uint8 (N, 48, 48, 3).
    """
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = sample_scene(rng, things)
        if wanted(scene):
            scenes.append(scene)
    return scenes, np.stack([draw(scene, SMALLEST, rng) for scene in scenes])

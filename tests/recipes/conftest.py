"""Settings and data for runs that take a second."""

import numpy as np
import pytest
from PIL import Image

from minivlm.recipes.settings import ClipSettings
from tests.recipes.small import SMALL


@pytest.fixture
def small():
    return ClipSettings("scenes", **SMALL)


@pytest.fixture
def captioned(tmp_path):
    """A folder of plain pictures named by their colour, with a .txt beside each."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(24):
        name, color = [("red", (200, 30, 30)), ("green", (30, 200, 30)), ("blue", (30, 30, 200))][
            i % 3
        ]
        pixels = np.clip(np.array(color) + rng.normal(0, 9, (40, 60, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"a {name} picture, number {i}\n")
    return folder

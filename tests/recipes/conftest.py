"""Settings and data for runs that take a second."""

import numpy as np
import pytest
from PIL import Image

from minivlm.recipes.settings import ClipSettings
from minivlm.recipes.train_clip import train_clip
from minivlm.recipes.vlm_settings import VlmSettings
from tests.recipes.small import SMALL, SMALL_VLM


@pytest.fixture
def small():
    return ClipSettings("scenes", **SMALL)


@pytest.fixture(scope="session")
def clip_run(tmp_path_factory):
    """The folder of two towers that were hardly trained, to look at and not to touch."""
    folder = tmp_path_factory.mktemp("runs") / "clip"
    train_clip(ClipSettings("scenes", **SMALL), folder, lambda sentence: None)
    return folder


@pytest.fixture(scope="session")
def small_vlm(clip_run):
    return VlmSettings("scenes", clip=str(clip_run), **SMALL_VLM)


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

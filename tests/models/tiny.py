"""The smallest CLIPs that have every part."""

from dataclasses import replace

import numpy as np

from minivlm.models.clip import CLIP, CLIPConfig
from minivlm.models.text import TextConfig
from minivlm.models.vit import ViTConfig

VISION = ViTConfig(image=8, patch=4, width=12, heads=3, layers=2)
TEXT = TextConfig(vocabulary=20, context=7, width=8, heads=2, layers=2, end=2)
CONFIG = CLIPConfig(VISION, TEXT, embed=6)


def tiny_clip(seed=0, **vision):
    config = replace(CONFIG, vision=replace(VISION, **vision))
    return CLIP(config, np.random.default_rng(seed))


def tiny_batch(seed=0, count=5, dtype=np.float32):
    rng = np.random.default_rng(seed)
    pixels = rng.standard_normal((count, 3, 8, 8)).astype(dtype)
    ids = rng.integers(3, 20, (count, 7))
    ids[np.arange(count), rng.integers(1, 7, count)] = 2
    return pixels, ids

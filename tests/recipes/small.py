"""Runs so small that they take a second, and models that were never trained."""

import numpy as np

from minivlm.models.llava import LLaVA
from minivlm.models.vit import ViTConfig
from minivlm.recipes.trained_vlm import SPECIALS, TrainedVLM, model_config
from minivlm.recipes.vlm_settings import VlmSettings
from minivlm.tokenizers.bpe import BPE

SMALL = {
    "steps": 6,
    "batch": 8,
    "image": 48,
    "patch": 16,
    "width": 16,
    "heads": 2,
    "vision_layers": 1,
    "text_layers": 1,
    "embed": 8,
    "examples": 200,
    "vocabulary": 300,
}

SMALL_VLM = {
    "things": 2,
    "reading_steps": 3,
    "alignment_steps": 3,
    "instruction_steps": 5,
    "batch": 6,
    "width": 16,
    "heads": 2,
    "layers": 1,
    "shuffle": 1,
    "examples": 200,
    "vocabulary": 300,
}


def untrained_vlm(**changes) -> TrainedVLM:
    """Random weights, a tokenizer of bytes."""
    settings = VlmSettings("scenes", clip="nowhere", **SMALL_VLM | changes)
    tokenizer = BPE([], SPECIALS)
    vision = ViTConfig(image=48, patch=16, width=16, heads=2, layers=1, pool="mean")
    config = model_config(settings, vision, tokenizer.vocab_size)
    return TrainedVLM(LLaVA(config, np.random.default_rng(0)), tokenizer, settings)

"""Where the models are that come with minivlm: small, and made by its own recipe."""

from pathlib import Path

PRETRAINED = Path(__file__).parents[1] / "pretrained"
PRETRAINED_CLIP = PRETRAINED / "clip"
PRETRAINED_VLM = PRETRAINED / "vlm"

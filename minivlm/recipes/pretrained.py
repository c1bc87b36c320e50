"""Where the models are that come with minivlm: small, and made by its own recipe."""

from pathlib import Path

PRETRAINED = Path(__file__).parents[1] / "pretrained"
PRETRAINED_CLIP = PRETRAINED / "clip"
PRETRAINED_VLM = PRETRAINED / "vlm"


def is_shipped(folder: Path) -> bool:
    """Whether a folder comes with minivlm, and so is not written to."""
    return folder.resolve().is_relative_to(PRETRAINED)

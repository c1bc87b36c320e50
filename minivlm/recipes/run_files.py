"""What every run folder holds: config.json, tokenizer.json and, at the end, model.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minivlm.errors import InputError
from minivlm.files import read_json, write_json
from minivlm.nn.module import Module
from minivlm.recipes.settings import Settings
from minivlm.tensorfile import write_arrays
from minivlm.tokenizers.bpe import BPE


def write_config(
    folder: Path, model_type: str, tokenizer: BPE, settings: Settings, sizes: dict[str, Any]
) -> None:
    """Write config.json and tokenizer.json.

    Args:
        folder: of the run.
        model_type: tells one kind of run from another.
        tokenizer: of the run.
        settings: of the run.
        sizes: of the model.
    """
    tokenizer.save(folder / "tokenizer.json")
    config = {"model_type": model_type, "settings": settings.to_json(), "model": sizes}
    write_json(folder / "config.json", config)


def read_config(folder: Path, model_type: str) -> dict[str, Any]:
    """The config.json of a run folder.

    Raises:
        InputError: there is none, or it is of another kind of run.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    path = folder / "config.json"
    if not path.exists():
        raise InputError(f"{folder}: not a run folder, it has no config.json")
    config = read_json(path)
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != model_type:
        raise InputError(f'{path}: "model_type" is {kind!r}, not "{model_type}"')
    return config


def write_weights(folder: Path, model: Module, dtype: type) -> None:
    """Write model.safetensors, as the last thing that a run does."""
    arrays = {name: array.astype(dtype) for name, array in model.state_dict().items()}
    write_arrays(folder / "model.safetensors", arrays, {"format": "np"})

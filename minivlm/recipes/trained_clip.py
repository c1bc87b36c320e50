"""A CLIP with its tokenizer and its way of looking at pictures: what a run folder holds.

config.json         settings of the run, sizes of the model, how pixels are normalised
tokenizer.json      the byte-pair merges
model.safetensors   the weights, written when training is done
checkpoint.safetensors   weights and optimizer of the newest checkpoint, while it is not
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivlm.data.image import pixels
from minivlm.errors import InputError
from minivlm.models.clip import CLIP, CLIPConfig
from minivlm.models.text import TextConfig
from minivlm.models.vit import ViTConfig
from minivlm.ops.normalize import unit_length
from minivlm.recipes.run_files import read_config, write_config, write_weights
from minivlm.recipes.settings import ClipSettings
from minivlm.tensor import Array, no_grad
from minivlm.tensorfile import read_arrays
from minivlm.tokenizers.bpe import BPE
from minivlm.train.saving import MODEL, with_prefix

MODEL_TYPE = "minivlm-clip"
AT_ONCE = 200  # pictures or texts in a forward pass without gradients


@dataclass
class TrainedCLIP:
    """Pictures and words in, embeddings of unit length out.

    Attributes:
        model: the two towers.
        tokenizer: words to ids.
        settings: of the run that made it.
    """

    model: CLIP
    tokenizer: BPE
    settings: ClipSettings

    @classmethod
    def untrained(cls, settings: ClipSettings, texts: Sequence[str]) -> TrainedCLIP:
        """Random weights, and a tokenizer trained on the texts."""
        tokenizer = BPE.train(texts, settings.vocabulary)
        config = model_config(settings, tokenizer.vocab_size, tokenizer.end)
        return cls(CLIP(config, np.random.default_rng(settings.seed)), tokenizer, settings)

    @classmethod
    def load(cls, folder: Path) -> TrainedCLIP:
        """What `minivlm train clip` left in a run folder; unfinished runs as far as they came.

        Raises:
            InputError: the folder holds no run, or a file in it is damaged.
        """
        config, path = read_config(folder, MODEL_TYPE), folder / "config.json"
        settings = ClipSettings.from_json(config.get("settings"), str(path))
        tokenizer = BPE.load(folder / "tokenizer.json")
        model = CLIP(_parsed_config(config.get("model"), str(path)), np.random.default_rng(0))
        model.load_state_dict(*_weights(folder))
        return cls(model, tokenizer, settings)

    @staticmethod
    def load_settings(folder: Path) -> ClipSettings:
        """The settings of the run in a folder.

        Raises:
            InputError: the folder holds no run, or its config.json is damaged.
        """
        value = read_config(folder, MODEL_TYPE).get("settings")
        return ClipSettings.from_json(value, str(folder / "config.json"))

    def save_config(self, folder: Path) -> None:
        """Write config.json and tokenizer.json."""
        sizes = asdict(self.model.config)
        write_config(folder, MODEL_TYPE, self.tokenizer, self.settings, sizes)

    def save_weights(self, folder: Path, dtype: type = np.float32) -> None:
        """Write model.safetensors, as the last thing that a run does."""
        write_weights(folder, self.model, dtype)

    def ids(self, texts: Sequence[str]) -> Array:
        """Token ids (B, T), padded to the longest text."""
        return self.tokenizer.encode_batch(texts, self.settings.context)

    def image_embeddings(self, images: Array) -> Array:
        """Pictures uint8 (B, S, S, 3) -> embeddings of unit length (B, E)."""
        with no_grad():
            parts = [
                unit_length(self.model.encode_image(pixels(images[i : i + AT_ONCE]))).data
                for i in range(0, len(images), AT_ONCE)
            ]
        return np.concatenate(parts)

    def text_embeddings(self, texts: Sequence[str]) -> Array:
        """Texts -> embeddings of unit length (B, E)."""
        with no_grad():
            parts = [
                unit_length(self.model.encode_text(self.ids(texts[i : i + AT_ONCE]))).data
                for i in range(0, len(texts), AT_ONCE)
            ]
        return np.concatenate(parts)


def model_config(settings: ClipSettings, vocabulary: int, end: int) -> CLIPConfig:
    """The sizes of the model that the settings ask for.

    Raises:
        InputError: they do not fit together.
    """
    s = settings
    return CLIPConfig(
        vision=ViTConfig(
            s.image, s.patch, s.width, s.heads, s.vision_layers, s.pool, pre_norm=False
        ),
        text=TextConfig(vocabulary, s.context, s.width, s.heads, s.text_layers, end),
        embed=s.embed,
    )


def _parsed_config(value: Any, source: str) -> CLIPConfig:
    try:
        parts = dict(value)
        return CLIPConfig(
            **parts | {"vision": ViTConfig(**parts["vision"]), "text": TextConfig(**parts["text"])}
        )
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f'{source}: "model" does not describe a CLIP: {error}') from None


def _weights(folder: Path) -> tuple[dict[str, Array], str]:
    """The weights in a run folder by name, and the file that they come from."""
    path = folder / "model.safetensors"
    if path.exists():
        return read_arrays(path)[0], str(path)
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        raise InputError(f"{folder}: no weights yet, neither model nor checkpoint.safetensors")
    arrays, _ = read_arrays(path)
    return with_prefix(arrays, MODEL), str(path)

"""A LLaVA with its tokenizer: what the run folder of a talking model holds.

config.json         settings of the run, sizes of the model
tokenizer.json      the byte-pair merges and the special tokens
model.safetensors   the weights, eye included, written when training is done
stage-N.safetensors weights and optimizer of the newest checkpoint of stage N
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivlm.data.chat import (
    Conversation,
    Sample,
    Template,
    Turn,
    bare,
    question_ids,
    training_sample,
)
from minivlm.data.image import pixels
from minivlm.data.lessons import about_picture
from minivlm.errors import InputError
from minivlm.models.decoder import DecoderConfig
from minivlm.models.generate import Sampling, generate
from minivlm.models.llava import LLaVA, LLaVAConfig
from minivlm.models.projector import ProjectorConfig
from minivlm.models.vit import ViTConfig
from minivlm.recipes.run_files import read_config, write_config, write_weights
from minivlm.recipes.vlm_settings import VlmSettings
from minivlm.tensor import Array, Tensor, no_grad
from minivlm.tensorfile import read_arrays
from minivlm.tokenizers.bpe import BPE

MODEL_TYPE = "minivlm-llava"
SPECIALS = ("<pad>", "<start>", "<end>", "<image>", "<question>", "<answer>")
AT_ONCE = 200  # pictures or questions in a forward pass without gradients
LONGEST_ANSWER = 64  # tokens


@dataclass
class TrainedVLM:
    """A picture and a question in, an answer out.

    Attributes:
        model: eye, projector and language model.
        tokenizer: words to ids; its special tokens are SPECIALS.
        settings: of the run that made it.
    """

    model: LLaVA
    tokenizer: BPE
    settings: VlmSettings

    @classmethod
    def load(cls, folder: Path) -> TrainedVLM:
        """What `minivlm train vlm` left in a run folder when it was done.

        Raises:
            InputError: the folder holds no such run or an unfinished one, or a file is damaged.
        """
        config, path = read_config(folder, MODEL_TYPE), folder / "config.json"
        settings = VlmSettings.from_json(config.get("settings"), str(path))
        tokenizer = BPE.load(folder / "tokenizer.json")
        if tokenizer.specials != SPECIALS:
            raise InputError(f"{folder / 'tokenizer.json'}: not the tokenizer of a talking model")
        parsed = _parsed_config(config.get("model"), str(path))
        if parsed.decoder.vocabulary != tokenizer.vocab_size:
            raise InputError(f"{folder}: tokenizer and model differ in their number of tokens")
        weights = folder / "model.safetensors"
        if not weights.exists():
            raise InputError(f"{folder}: this run is not finished; go on with minivlm train vlm")
        model = LLaVA(parsed, np.random.default_rng(0))
        model.load_state_dict(read_arrays(weights)[0], str(weights))
        return cls(model, tokenizer, settings)

    def save_config(self, folder: Path) -> None:
        """Write config.json and tokenizer.json."""
        sizes = asdict(self.model.config)
        write_config(folder, MODEL_TYPE, self.tokenizer, self.settings, sizes)

    def save_weights(self, folder: Path, dtype: type = np.float32) -> None:
        """Write model.safetensors, as the last thing that a run does."""
        write_weights(folder, self.model, dtype)

    @property
    def template(self) -> Template:
        """What stands around questions and answers."""
        special = self.tokenizer.special
        return bare(special("<start>"), special("<question>"), special("<answer>"), self.end)

    @property
    def end(self) -> int:
        """The id that ends an answer."""
        return self.tokenizer.end

    @property
    def pad(self) -> int:
        """The id that fills up shorter texts of a batch."""
        return self.tokenizer.special("<pad>")

    def look(self, images: Array) -> Array:
        """Pictures uint8 (n, S, S, 3) -> patch features (n, N, inputs), which never change."""
        with no_grad():
            parts = [
                self.model.see(pixels(images[i : i + AT_ONCE])).data
                for i in range(0, len(images), AT_ONCE)
            ]
        return np.concatenate(parts)

    def sample(self, conversation: Conversation, template: Template | None = None) -> Sample:
        """A conversation of which the answers are learnt, cut off at the context.

        Args:
            conversation: what was said.
            template: what stands around it; None takes the model's own.

        Raises:
            InputError: nothing of it can be learnt; see `training_sample`.
        """
        return training_sample(
            conversation,
            template or self.template,
            self.tokenizer.encode,
            self.model.config.image_token,
            self.model.config.image_tokens,
            self.settings.context,
        )

    def prompt(self, turns: Sequence[Turn]) -> Array:
        """Ids (T,) up to where the next answer begins.

        Raises:
            InputError: they are more than the context.
        """
        config = self.model.config
        encode = self.tokenizer.encode
        ids = question_ids(turns, self.template, encode, config.image_token, config.image_tokens)
        if len(ids) >= self.settings.context:
            most = self.settings.context - 1
            raise InputError(f"the question is {len(ids)} tokens long, more than {most}")
        return ids

    def stream(
        self,
        seen: Array | None,
        turns: Sequence[Turn],
        sampling: Sampling | None = None,
        rng: np.random.Generator | None = None,
        tell: Callable[[int], None] = lambda token: None,
    ) -> Iterator[str]:
        """The answer to the last turn, piece by piece, as soon as each is whole text.

        Args:
            seen: patch features of the turns' pictures (n, N, inputs), None without any.
            turns: the conversation so far.
            sampling: see `generate`.
            rng: likewise.
            tell: gets each token as it is chosen, the end included.
        """
        ids = self.prompt(turns)[None]
        chosen: list[int] = []
        told = ""
        for token in self._generate(ids, seen, None, sampling, rng):
            tell(int(token[0]))
            if token[0] == self.end:
                break
            chosen.append(int(token[0]))
            text = self.tokenizer.decode(chosen)
            if not text.endswith("\ufffd"):  # else a character is not complete yet
                yield text[len(told) :]
                told = text
        yield self.tokenizer.decode(chosen)[len(told) :]

    def answers(self, seen: Array | None, questions: Sequence[str]) -> list[str]:
        """The most probable answer to each question, about the picture beside it.

        Args:
            seen: patch features, one picture for each question (n, N, inputs); None asks the
                language model alone, without a picture.
            questions: one for each picture.
        """
        turns = [Turn("human", q) if seen is None else about_picture(q) for q in questions]
        prompts = [self.prompt([turn]) for turn in turns]
        said: list[str] = [""] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # little padding
        for start in range(0, len(order), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            T = max(len(prompts[i]) for i in rows)
            ids = np.full((len(rows), T), self.pad)
            for row, i in enumerate(rows):
                ids[row, T - len(prompts[i]) :] = prompts[i]  # padding on the left
            some = None if seen is None else seen[rows]
            mask = ids != self.pad
            tokens = self._generate(ids, some, None if mask.all() else mask)
            for i, chosen in zip(rows, np.stack(list(tokens), 1), strict=True):
                until = np.flatnonzero(chosen == self.end)
                said[i] = self.tokenizer.decode(chosen[: until[0]] if len(until) else chosen)
        return said

    def _generate(
        self,
        ids: Array,
        seen: Array | None,
        mask: Array | None = None,
        sampling: Sampling | None = None,
        rng: np.random.Generator | None = None,
    ) -> Iterator[Array]:
        with no_grad():
            prompt = self.model.spliced(ids, None if seen is None else Tensor(seen))
        return generate(
            self.model.decoder,
            prompt,
            mask,
            max_new_tokens=min(LONGEST_ANSWER, self.settings.context - ids.shape[1]),
            stop=[self.end],
            sampling=sampling,
            rng=rng,
            pad=self.pad,
        )


def model_config(settings: VlmSettings, vision: ViTConfig, vocabulary: int) -> LLaVAConfig:
    """The sizes of the model that the settings ask for.

    Raises:
        InputError: they do not fit together.
    """
    s = settings
    return LLaVAConfig(
        vision,
        ProjectorConfig(
            s.projector,
            vision.width,
            s.width,
            vision.image // vision.patch,
            shuffle=s.shuffle,
            norm=True,
            positions=True,
        ),
        DecoderConfig(
            vocabulary,
            s.width,
            s.heads,
            s.heads,
            s.layers,
            hidden=8 * (s.width // 3),
            context=s.context,
        ),
        image_token=SPECIALS.index("<image>"),
        vision_layer=s.vision_layer,
    )


def _parsed_config(value: Any, source: str) -> LLaVAConfig:
    try:
        parts = dict(value)
        return LLaVAConfig(
            **parts
            | {
                "vision": ViTConfig(**parts["vision"]),
                "projector": ProjectorConfig(**parts["projector"]),
                "decoder": DecoderConfig(**parts["decoder"]),
            }
        )
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f'{source}: "model" does not describe a LLaVA: {error}') from None


def load_settings(folder: Path) -> VlmSettings:
    """The settings of the run in a folder.

    Raises:
        InputError: the folder holds no such run, or its config.json is damaged.
    """
    value = read_config(folder, MODEL_TYPE).get("settings")
    return VlmSettings.from_json(value, str(folder / "config.json"))

"""The small LLaVA of M4 and M5, and how one asks it for a colour.

The eye is that of the CLIP that comes with minivlm. Projector and language model are small enough
to be trained in ten seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minivlm.data.chat import (
    ASSISTANT,
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
from minivlm.data.scenes import COLORS, SHAPES
from minivlm.files import read_json
from minivlm.models.decoder import DecoderConfig
from minivlm.models.generate import Sampling, generate
from minivlm.models.llava import LLaVA, LLaVAConfig
from minivlm.models.projector import ProjectorConfig
from minivlm.models.vit import ViTConfig
from minivlm.nn.module import freeze
from minivlm.tensor import Array, Tensor, no_grad
from minivlm.tensorfile import read_arrays, write_arrays
from minivlm.tokenizers.bpe import BPE
from minivlm.train.saving import with_prefix

EYE = Path(__file__).parents[2] / "pretrained" / "clip"
SPECIALS = ("<pad>", "<start>", "<end>", "<image>", "<question>", "<answer>")
VOCABULARY, WIDTH, HEADS, LAYERS, CONTEXT = 400, 64, 4, 3, 32


@dataclass
class Talker:
    """A model and its words.

    Attributes:
        model: eye, projector and language model.
        tokenizer: has a token for each shape and for each colour.
    """

    model: LLaVA
    tokenizer: BPE

    @classmethod
    def untrained(cls, rng: np.random.Generator) -> Talker:
        """CLIP's eye, which is frozen, and all else random."""
        texts = [question(shape) for shape in SHAPES] + list(COLORS)
        tokenizer = BPE.train(texts * 2, VOCABULARY, SPECIALS)  # what occurs once is not merged
        vision = ViTConfig(**read_json(EYE / "config.json")["model"]["vision"])
        grid = vision.image // vision.patch
        config = LLaVAConfig(
            vision,
            ProjectorConfig("mlp", vision.width, WIDTH, grid, shuffle=2, norm=True),
            DecoderConfig(tokenizer.vocab_size, WIDTH, HEADS, HEADS, LAYERS, 2 * WIDTH, CONTEXT),
            image_token=SPECIALS.index("<image>"),
        )
        model = LLaVA(config, rng)
        weights = EYE / "model.safetensors"
        model.vision.load_state_dict(with_prefix(read_arrays(weights)[0], "vision."), str(weights))
        freeze(model.vision)
        return cls(model, tokenizer)

    @classmethod
    def load(cls, path: Path) -> Talker:
        """What `save` wrote.

        Raises:
            InputError: the file is missing, damaged, or of another model.
        """
        talker = cls.untrained(np.random.default_rng(0))
        talker.model.load_state_dict(read_arrays(path)[0], str(path))
        return talker

    def save(self, path: Path) -> None:
        """Write the weights."""
        path.parent.mkdir(exist_ok=True)
        write_arrays(path, self.model.state_dict(), {"made by": "milestone M4"})

    def look(self, images: Array) -> Array:
        """Pictures uint8 (n, S, S, 3) -> patch features (n, N, inputs)."""
        with no_grad():
            return self.model.see(pixels(images)).data

    def sample(self, shape: str, color: str) -> Sample:
        """A question with its answer, of which the answer is learnt."""
        turns = about_picture(question(shape)), Turn(ASSISTANT, color)
        talk = Conversation(turns, ("a scene",), "a scene")
        return training_sample(talk, self._template(), *self._wiring(), most=CONTEXT)

    def prompt(self, shape: str) -> Array:
        """Ids (T,) of a question, up to where the answer begins."""
        return question_ids([about_picture(question(shape))], self._template(), *self._wiring())

    def spliced(self, seen: Array, shapes: Sequence[str]) -> Tensor:
        """What the language model reads, (n, T, D): a question about each picture that was seen."""
        ids = np.stack([self.prompt(shape) for shape in shapes])  # each shape is one token
        with no_grad():
            return self.model.spliced(ids, Tensor(seen))

    def answers(
        self,
        seen: Array,
        shapes: Sequence[str],
        sampling: Sampling | None = None,
        rng: np.random.Generator | None = None,
    ) -> list[str]:
        """What colour it says that the shape in each picture has.

        Args:
            seen: patch features of the pictures (n, N, inputs).
            shapes: one for each picture.
            sampling: how a token is chosen; None takes the most probable.
            rng: decides what the sampling leaves open.
        """
        end, prompt = self.tokenizer.end, self.spliced(seen, shapes)
        written = generate(
            self.model.decoder, prompt, max_new_tokens=3, stop=[end], sampling=sampling, rng=rng
        )
        said = [[*row, end] for row in np.stack(list(written), 1).tolist()]
        return [self.tokenizer.decode(row[: row.index(end)]) for row in said]

    def attention(self, seen: Array, shapes: Sequence[str]) -> np.ndarray:
        """Where each head looks in the moment of answering.

        Args:
            seen: patch features of the pictures (n, N, inputs).
            shapes: what is asked about in each.

        Returns:
            The attention to each soft word (n, layers, heads, M); the rest goes to words.
        """
        maps = self.model.decoder.attention_maps(self.spliced(seen, shapes))
        soft = self.prompt(shapes[0]) == self.model.config.image_token
        return np.stack([weights[:, :, -1][..., soft] for weights in maps], 1)

    def _template(self) -> Template:
        names = "<start>", "<question>", "<answer>", "<end>"
        return bare(*(self.tokenizer.special(name) for name in names))

    def _wiring(self) -> tuple[Callable[[str], list[int]], int, int]:
        config = self.model.config
        return self.tokenizer.encode, config.image_token, config.image_tokens


def question(shape: str) -> str:
    """What is asked."""
    return f"what color is the {shape}?"

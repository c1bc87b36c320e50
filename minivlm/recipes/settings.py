"""What a run was asked for: everything that decides its result, as one JSON object.

A run folder keeps it in `config.json`. Two runs with equal settings on the same machine give the
same bits.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self, get_type_hints

from minivlm.errors import InputError

MOST_SEEDS = 1_000_000
OPTIMIZERS = ("muon", "adamw", "sgd")


@dataclass(frozen=True)
class Settings:
    """What all runs' settings can do."""

    def to_json(self) -> dict[str, Any]:
        """The settings as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, source: str) -> Self:
        """The settings in a JSON object.

        Raises:
            InputError: it is no object, a key is unknown or missing, or a value is of another type.
        """
        if not isinstance(value, dict):
            raise InputError(f'{source}: "settings" is not an object')
        known = get_type_hints(cls)
        if unknown := sorted(value.keys() - known.keys()):
            raise InputError(f'{source}: settings have an unknown key "{unknown[0]}"')
        if missing := sorted(known.keys() - value.keys()):
            raise InputError(f'{source}: settings lack "{missing[0]}"')
        for name, item in value.items():
            kind = float | int if known[name] is float else known[name]
            if not isinstance(item, kind) or (isinstance(item, bool) and known[name] is not bool):
                said = getattr(known[name], "__name__", known[name])
                raise InputError(f'{source}: setting "{name}" is {item!r}, not {said}')
        return cls(**value)

    def difference(self, other: Self) -> str | None:
        """The first setting in which two runs differ, in words; None where they are the same."""
        for name, mine in asdict(self).items():
            theirs = getattr(other, name)
            if mine != theirs:
                return f"{name} {theirs} there, {mine} here"
        return None


@dataclass(frozen=True)
class ClipSettings(Settings):
    """The settings of `minivlm train clip`.

    Attributes:
        data: "scenes", "digits", or the path of a folder, table or archive of captioned pictures.
        steps: updates of the weights.
        batch: pictures, and texts, in a batch.
        chunk: pictures embedded at once; smaller than `batch` saves memory, gives the same
            gradient and costs a second forward pass. 0 means the whole batch.
        seed: decides the starting weights, the batches and the generated scenes.
        threads: parts of a batch that are computed at the same time, each on a core.
        optimizer: "muon", "adamw" or "sgd".
        lr: learning rate of matrices under Muon, of all parameters otherwise.
        image: side of a picture in pixels.
        patch: side of a patch in pixels.
        width: of both towers.
        heads: in each block of both towers.
        vision_layers: blocks of the vision tower.
        text_layers: blocks of the text tower.
        embed: width of the joint space.
        pool: "mean" or "class", what the vision tower is read off from.
        vocabulary: most tokens of the tokenizer.
        context: most tokens in a text.
        examples: scenes to draw for training.
        image_column: of a table of captions; None finds it by name.
        caption_column: likewise.
        images: folder that a table's paths start from; None means the table's own.
        skip_bad: leave out rows and pictures that cannot be read, rather than stop.
    """

    data: str
    steps: int
    batch: int = 128
    chunk: int = 0
    seed: int = 0
    threads: int = 2
    optimizer: str = "muon"
    lr: float = 0.02
    image: int = 48
    patch: int = 8
    width: int = 64
    heads: int = 2
    vision_layers: int = 3
    text_layers: int = 2
    embed: int = 64
    pool: str = "mean"
    vocabulary: int = 512
    context: int = 64
    examples: int = 12000
    image_column: str | None = None
    caption_column: str | None = None
    images: str | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "threads", "context", "examples"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} is not positive")
        if self.context < 3:
            raise InputError(f"context {self.context} has no room for a start, a word and an end")
        if not 0 <= self.seed < MOST_SEEDS:  # beyond, the seeds of test scenes begin
            raise InputError(f"seed {self.seed} is not in 0..{MOST_SEEDS - 1}")
        if self.chunk < 0:
            raise InputError(f"chunk {self.chunk} is negative")
        if not self.lr > 0:
            raise InputError(f"lr {self.lr} is not positive")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f'optimizer "{self.optimizer}" is none of {", ".join(OPTIMIZERS)}')


def defaults_for(data: str) -> ClipSettings:
    """Settings that were found to work well for a kind of data; see docs/training.md."""
    if data == "scenes":
        return ClipSettings(data, steps=800)
    if data == "digits":
        return ClipSettings(
            data,
            steps=1200,
            batch=64,
            image=8,
            patch=2,
            width=48,
            vision_layers=2,
            text_layers=1,
            embed=32,
            context=16,
        )
    return ClipSettings(data, steps=1000, batch=64, image=64, vocabulary=4096)

"""What a run of a talking model was asked for; see `Settings`."""

from dataclasses import dataclass

from minivlm.errors import InputError
from minivlm.models.projector import KINDS
from minivlm.recipes.settings import MOST_SEEDS, Settings

SIZES = (
    "width",
    "heads",
    "layers",
    "projector",
    "shuffle",
    "vision_layer",
    "vocabulary",
    "context",
)
MOST_SCENE = 4  # things in a scene that is drawn for training


@dataclass(frozen=True)
class VlmSettings(Settings):
    """The settings of `minivlm train vlm`.

    Attributes:
        data: "scenes", or the path of a file of conversations in LLaVA's format.
        clip: run folder of the CLIP whose eye is used; empty where `start` is given.
        start: run folder of a talking model to go on from; empty to begin with a new one.
        seed: decides the starting weights, the batches and the generated scenes.
        threads: parts of a batch that are computed at the same time, each on a core.
        reading_steps: updates of stage 0.
        alignment_steps: updates of stage 1.
        instruction_steps: updates of stage 2.
        batch: conversations in a batch.
        turns: questions in a long conversation about a scene.
        things: most things in a scene.
        reading_lr: learning rate of matrices in stage 0.
        alignment_lr: likewise, stage 1.
        instruction_lr: likewise, stage 2.
        lora: rank of the detours in stage 2; 0 trains the language model in full.
        lora_alpha: see `LoRALinear`.
        width: of the language model.
        heads: in each of its blocks.
        layers: its blocks.
        projector: one of KINDS.
        shuffle: r; each r × r patches become one soft word.
        vision_layer: whose patch tokens are read; -2 is after the last block but one.
        vocabulary: most tokens of the tokenizer.
        context: most tokens in a conversation.
        examples: scenes to draw for training, of which those with few enough things are used.
        images: folder that the data's paths start from; None means the folder of the file.
        skip_bad: leave out samples and pictures that cannot be read, rather than stop.
    """

    data: str
    clip: str = ""
    start: str = ""
    seed: int = 0
    threads: int = 2
    reading_steps: int = 400
    alignment_steps: int = 150
    instruction_steps: int = 4500
    batch: int = 80
    turns: int = 3
    things: int = MOST_SCENE
    reading_lr: float = 0.01
    alignment_lr: float = 0.02
    instruction_lr: float = 0.01
    lora: int = 0
    lora_alpha: float = 16.0
    width: int = 64
    heads: int = 4
    layers: int = 3
    projector: str = "mlp"
    shuffle: int = 2
    vision_layer: int = -2
    vocabulary: int = 512
    context: int = 256
    examples: int = 12000
    images: str | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        for name in ("threads", "batch", "turns", "context", "examples", "width", "layers"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} is not positive")
        for name in ("reading_steps", "alignment_steps", "instruction_steps", "lora"):
            if getattr(self, name) < 0:
                raise InputError(f"{name.replace('_', '-')} {getattr(self, name)} is negative")
        for name in ("reading_lr", "alignment_lr", "instruction_lr", "lora_alpha"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name.replace('_', '-')} {getattr(self, name)} is not positive")
        if not 0 <= self.seed < MOST_SEEDS:
            raise InputError(f"seed {self.seed} is not in 0..{MOST_SEEDS - 1}")
        if not 1 <= self.things <= MOST_SCENE:
            raise InputError(f"things {self.things} is not in 1..{MOST_SCENE}")
        if self.projector not in KINDS:
            raise InputError(f'projector "{self.projector}" is none of {", ".join(KINDS)}')
        if bool(self.clip) == bool(self.start):
            raise InputError("give either --clip, whose eye is to learn to talk, or --start")

    @property
    def steps(self) -> tuple[int, int, int]:
        """Updates of stages 0, 1 and 2."""
        return self.reading_steps, self.alignment_steps, self.instruction_steps

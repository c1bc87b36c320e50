"""LLaVA's stages: what moves, what is frozen, what is read, and which loss to expect.

All three learn the next token, with the same loss by the same loop. They differ in which weights
move and in what stands before the answers: text about a scene (0), a picture and its caption (1),
a picture and questions (2). The eye is CLIP's and never moves, so each picture is looked at once.

Source: Liu et al. 2023, arXiv:2304.08485, section 4.2; stage 0 stands for the language model that
LLaVA finds ready-made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from minivlm.nn.lora import add_lora
from minivlm.nn.module import Module, freeze, unfreeze
from minivlm.ops.losses import IGNORE
from minivlm.tensor import Array, Tensor
from minivlm.train.loop import Step, train
from minivlm.train.muon import Muon
from minivlm.train.optim import Optimizer
from minivlm.train.parallel import Replicas, one_blas_thread
from minivlm.train.schedule import warmup_cosine

DETOURS = ("q", "k", "v", "out", "gate", "up", "down")  # all matrices of a decoder's blocks
WEIGHT_DECAY = 0.05


class Speaker(Protocol):
    """What the stages need of a model: three parts, and its loss."""

    @property
    def vision(self) -> Module:
        """The eye."""
        ...

    @property
    def projector(self) -> Module:
        """What it sees to soft words."""
        ...

    @property
    def decoder(self) -> Module:
        """The language model."""
        ...

    def named_parameters(self) -> dict[str, Tensor]:
        """Every parameter by name."""
        ...

    def loss(self, ids: Array, labels: Array, seen: Tensor | None) -> Tensor:
        """Mean nats of the labelled tokens, given what was seen."""
        ...


class Texts(NamedTuple):
    """Part of a batch: one model reads it at once.

    Attributes:
        ids: tokens (B, T), padded on the right.
        labels: at each position the token that follows, or IGNORE (B, T).
        seen: patch features of the texts' pictures (n, N, inputs); None where there are none.
    """

    ids: Array
    labels: Array
    seen: Array | None


@dataclass(frozen=True)
class Stage:
    """A stage that is set up: the right weights are free, the others frozen.

    Attributes:
        number: 0, 1 or 2.
        name: such as "alignment".
        moves: which weights learn, in words.
        expect: which loss to expect, and what it means.
        optimizer: moves the free weights.
    """

    number: int
    name: str
    moves: str
    expect: str
    optimizer: Optimizer


def reading(model: Speaker, lr: float) -> Stage:
    """Stage 0: the language model learns to read and to look things up, from text alone."""
    freeze(model.vision, model.projector)
    unfreeze(model.decoder)
    return Stage(
        0,
        "reading",
        "the language model",
        "The loss falls from the surprise of guessing among all tokens to, on scenes, two thirds "
        "of a nat: words, grammar and which answers exist come at once, looking up the right one "
        "later. No picture can be understood better than a text.",
        _muon(model, lr),
    )


def alignment(model: Speaker, lr: float) -> Stage:
    """Stage 1: the projector learns to say what is seen in words that the frozen model knows."""
    freeze(model.vision, model.decoder)
    unfreeze(model.projector)
    return Stage(
        1,
        "alignment",
        "only the projector",
        "The loss falls, on scenes, to three quarters of a nat, well above stage 2's: colours and "
        "shapes arrive, what belongs to what and where does not. Captions now are fluent and "
        "often wrong.",
        _muon(model, lr),
    )


def instruction(model: Speaker, lr: float) -> Stage:
    """Stage 2, in full: projector and language model learn to answer about pictures."""
    freeze(model.vision)
    unfreeze(model.projector, model.decoder)
    return Stage(2, "instruction", "projector and language model", _EXPECT_2, _muon(model, lr))


def instruction_by_lora(
    model: Speaker, lr: float, rank: int, alpha: float, rng: np.random.Generator
) -> Stage:
    """Stage 2, by low-rank detours: the language model itself stays as it is."""
    freeze(model.vision, model.decoder)
    unfreeze(model.projector)
    add_lora(model.decoder, DETOURS, rank, alpha, rng)
    return Stage(
        2, "instruction", f"projector and detours of rank {rank}", _EXPECT_2, _muon(model, lr)
    )


_EXPECT_2 = (
    "The loss falls below a tenth of a nat an answer's token where questions have one right answer "
    "and the eye sees enough; what stays is what it cannot tell."
)


def steps(
    stage: Stage,
    replicas: Replicas,
    batches: Iterable[Sequence[Texts]],
    count: int,
    start: int = 0,
) -> Iterator[Step]:
    """Take the steps of a stage.

    Args:
        stage: what is set up, for the first model of the replicas.
        replicas: the model, once for each thread.
        batches: from step `start` on, each in as many parts as there are models, or fewer.
        count: steps of the whole stage, which the schedule needs.
        start: steps that were taken before.
    """

    def forward_backward(batch: Sequence[Texts]) -> float:
        learnt = sum(_learnt(part) for part in batch)

        def loss(model: Speaker, part: Texts) -> Tensor:
            seen = None if part.seen is None else Tensor(part.seen)
            return model.loss(part.ids, part.labels, seen) * (_learnt(part) / learnt)

        return replicas.sum_of_losses(loss, batch)

    with one_blas_thread():
        yield from train(
            forward_backward,
            batches,
            stage.optimizer,
            lambda step: warmup_cosine(step, count),
            start=start,
        )


def _learnt(part: Texts) -> int:
    return int((part.labels != IGNORE).sum())


def _muon(model: Speaker, lr: float) -> Muon:
    return Muon(
        model.named_parameters(),
        lr=lr,
        adamw_lr=lr / 10,
        weight_decay=WEIGHT_DECAY,
        adamw_weight_decay=WEIGHT_DECAY,
    )

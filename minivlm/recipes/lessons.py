"""What a talking model learns from: conversations for each stage, from scenes or from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from minivlm.data.chat import ASSISTANT, Conversation, check_pictures
from minivlm.data.conversations import read_conversations
from minivlm.data.image import open_image, resize_and_crop
from minivlm.data.lessons import captioning, instruction, reading
from minivlm.data.paths import file_inside
from minivlm.data.scenes import Scene
from minivlm.errors import InputError
from minivlm.recipes.scenes_task import VALIDATION, drawn, training_scenes
from minivlm.recipes.vlm_settings import VlmSettings

CHATS_FROM = 0.75  # of stage 2's steps: before, every question stands alone
CHATS = 0.2  # of the conversations from then on have several questions
HELD_OUT_SHARE = 10  # one conversation of so many is kept for measuring
SHOWN = 6  # pictures whose captions are kept after each stage
TEXTS = 4000  # conversations that the tokenizer learns from


class Talk(NamedTuple):
    """A conversation, and which pictures it is about: rows of `Lessons.images`."""

    conversation: Conversation
    pictures: tuple[int, ...]


class Lessons(Protocol):
    """Where conversations come from."""

    images: np.ndarray  # uint8 (N, S, S, 3)
    shown: np.ndarray  # a few that are not learnt from, captioned after each stage
    notes: list[str]  # what a user should know about the data

    def texts(self) -> Sequence[str]:
        """Texts to train the tokenizer on."""
        ...

    def check(self, make_sample: Callable[[Conversation], object]) -> None:
        """See that conversations can be learnt from, before any is.

        Raises:
            InputError: one cannot, by what `make_sample` says, and is not to be left out.
        """
        ...

    def batch(self, stage: int, step: int) -> list[Talk]:
        """The conversations of a step, the same whenever asked."""
        ...


def open_lessons(settings: VlmSettings, side: int) -> Lessons:
    """The lessons that the setting `data` names, with pictures of `side` pixels.

    Raises:
        InputError: the data is missing or bad.
    """
    if settings.data == "scenes":
        return SceneLessons(settings, side)
    return FileLessons(settings, side)


class SceneLessons:
    """Scenes of a few things; each time another question is asked about them.

    One question at a time, until looking things up is learnt: with earlier questions and answers
    before it, a model copies from those instead of looking, and took several times as long.
    """

    def __init__(self, settings: VlmSettings, side: int):
        self.settings, self.notes = settings, []
        scenes, images = training_scenes(settings.examples, settings.seed, side)
        few = [i for i, scene in enumerate(scenes) if len(scene.things) <= settings.things]
        self.scenes, self.images = [scenes[i] for i in few], images[few]
        _, self.shown = shown_scenes(settings.things, side)

    def texts(self) -> list[str]:
        """Descriptions, questions and answers."""
        rng = np.random.default_rng((self.settings.seed, 20))
        talks = (instruction(scene, 8, rng) for scene in self.scenes[:TEXTS])
        answers = (captioning(scene) for scene in self.scenes[:TEXTS])
        return [turn.text for talk in (*talks, *answers) for turn in talk.turns]

    def check(self, make_sample: Callable[[Conversation], object]) -> None:
        """All scenes are alike: those of each stage's first step stand for the rest."""
        for stage, count in enumerate(self.settings.steps):
            for talk in self.batch(stage, 0) if count else ():
                make_sample(talk.conversation)

    def batch(self, stage: int, step: int) -> list[Talk]:
        """Scenes at random, with questions made up on the spot."""
        s = self.settings
        rng = np.random.default_rng((s.seed, 21 + stage, step))
        picked = rng.integers(len(self.scenes), size=s.batch).tolist()
        if stage == 0:
            return [Talk(reading(self.scenes[i], rng), ()) for i in picked]
        if stage == 1:
            return [Talk(captioning(self.scenes[i]), (i,)) for i in picked]
        chats = CHATS if step >= CHATS_FROM * s.instruction_steps else 0.0
        turns = np.where(rng.random(s.batch) < chats, s.turns, 1).tolist()
        return [
            Talk(instruction(self.scenes[i], count, rng), (i,))
            for i, count in zip(picked, turns, strict=True)
        ]


def shown_scenes(things: int, side: int) -> tuple[list[Scene], np.ndarray]:
    """The scenes whose captions are kept after each stage, for they tell what it taught."""
    return drawn(SHOWN, VALIDATION, side, things, held_out=False)


class FileLessons:
    """Conversations in LLaVA's format; stage 0 reads them without their pictures."""

    def __init__(self, settings: VlmSettings, side: int):
        self.settings = settings
        self.notes: list[str] = []
        self._rows: dict[Path, int] = {}
        pictures: list[np.ndarray] = []
        talks: list[Talk] = []
        path = Path(settings.data)
        root = Path(settings.images) if settings.images else path.parent
        for found in read_conversations(path):
            with self._leaving_out_bad():
                if isinstance(found, InputError):
                    raise found
                talks.append(self._read(found, root, side, pictures))
        if not pictures:
            why = f" ({self.notes[0]})" if self.notes else ""
            raise InputError(f"{path}: no conversation is about a picture{why}")
        self.images = np.stack(pictures)
        self.held_out = talks[HELD_OUT_SHARE - 1 :: HELD_OUT_SHARE]
        del talks[HELD_OUT_SHARE - 1 :: HELD_OUT_SHARE]
        self._keep(talks)
        learnt = {row for talk in talks for row in talk.pictures}
        unseen = [row for row in range(len(pictures)) if row not in learnt]
        self.shown = self.images[(unseen or range(len(pictures)))[:SHOWN]]

    def check(self, make_sample: Callable[[Conversation], object]) -> None:
        """Try every conversation, the held-out ones, too; with `skip_bad`, leave out bad ones."""

        def good(talk: Talk) -> bool:
            with self._leaving_out_bad():
                make_sample(talk.conversation)
                return True
            return False

        self.held_out = [talk for talk in self.held_out if good(talk)]
        self._keep([talk for talk in self.talks if good(talk)])

    def texts(self) -> list[str]:
        """What is said in the conversations."""
        return [turn.text for talk in self.talks[:TEXTS] for turn in talk.conversation.turns]

    def batch(self, stage: int, step: int) -> list[Talk]:
        """Conversations at random; in stage 1 only those about pictures."""
        pool = self.with_pictures if stage == 1 else self.talks
        rng = np.random.default_rng((self.settings.seed, 21 + stage, step))
        picked = [pool[i] for i in rng.integers(len(pool), size=self.settings.batch)]
        return [without_pictures(talk) for talk in picked] if stage == 0 else picked

    @contextmanager
    def _leaving_out_bad(self) -> Iterator[None]:
        """Inside this block bad input is noted rather than raised, if that is wished."""
        try:
            yield
        except InputError as error:
            if not self.settings.skip_bad:
                raise
            self.notes.append(f"left out: {error}")

    def _keep(self, talks: list[Talk]) -> None:
        """Learn from these."""
        self.talks = talks
        self.with_pictures = [talk for talk in talks if talk.pictures]
        if not self.with_pictures:
            few = f"{len(talks)} conversations are too few to learn from"
            raise InputError(f"{self.settings.data}: {few}")

    def _read(self, talk: Conversation, root: Path, side: int, pictures: list[np.ndarray]) -> Talk:
        check_pictures(talk)
        if len(talk.turns) < 2:
            raise InputError(f"{talk.where}: nothing to learn, no turn is by {ASSISTANT}")
        rows = []
        for name in talk.images:
            file = file_inside(root, name, talk.where)
            if file not in self._rows:
                image = open_image(file, f"{talk.where}: {name}")
                self._rows[file] = len(pictures)
                pictures.append(resize_and_crop(image, side))
            rows.append(self._rows[file])
        return Talk(talk, tuple(rows))


def without_pictures(talk: Talk) -> Talk:
    """The words of a conversation alone."""
    turns = tuple(replace(turn, pictures=()) for turn in talk.conversation.turns)
    return Talk(replace(talk.conversation, turns=turns, images=()), ())

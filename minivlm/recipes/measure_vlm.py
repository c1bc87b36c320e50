"""`minivlm eval vlm`: what a talking model knows of pictures it never saw, and what it makes up.

Beside every figure stands the same language model asked without a picture: what can be guessed
from the question alone is not sight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from minivlm.data.lessons import PROMPT, instruction
from minivlm.data.phrases import with_article
from minivlm.data.questions import KINDS, ask
from minivlm.data.scenes import SHAPES, Scene
from minivlm.errors import InputError
from minivlm.evaluate.answers import exact
from minivlm.evaluate.captions import CaptionScores, score_captions
from minivlm.evaluate.perplexity import perplexity
from minivlm.evaluate.pope import SETTINGS, Habits, Hallucination, judged, polls
from minivlm.ops.losses import IGNORE
from minivlm.recipes.lessons import FileLessons, Talk
from minivlm.recipes.scenes_task import TEST, drawn, training_scenes
from minivlm.recipes.train_vlm import parts
from minivlm.recipes.trained_vlm import TrainedVLM
from minivlm.tensor import Array, Tensor, no_grad

HABITS_FROM = 2000  # training scenes in which is counted what usually comes together
TESTED = 300  # scenes of each number of things
TEST_SEED = TEST + 200  # of scenes that no choice was made on


@dataclass(frozen=True)
class Asked:
    """A question that was put to the model.

    Attributes:
        picture: number of the picture.
        kind: one of KINDS.
        things: in the picture.
        question: in words.
        reference: the right answer.
        answer: the model's.
        blind: the model's without a picture.
    """

    picture: int
    kind: str
    things: int
    question: str
    reference: str
    answer: str
    blind: str

    @property
    def right(self) -> bool:
        """Whether the model's answer is the reference."""
        return exact(self.answer, self.reference)

    @property
    def right_blind(self) -> bool:
        """Whether it is without a picture."""
        return exact(self.blind, self.reference)


@dataclass(frozen=True)
class Measured:
    """All that is measured on scenes.

    Attributes:
        asked: questions about scenes like those of training.
        unseen: questions about scenes with a colour and shape that training never joined.
        captions: descriptions of the scenes.
        blind_captions: the same without a picture.
        hallucination: POPE's three settings.
        perplexity: of the right answers, given the pictures: 1 is certainty.
        seed: of the scenes.
    """

    asked: list[Asked]
    unseen: list[Asked]
    captions: CaptionScores
    blind_captions: CaptionScores
    hallucination: list[Hallucination]
    perplexity: float
    seed: int

    def to_json(self) -> dict:
        """The figures, and a few dozen questions with their answers."""
        return {
            "vqa": accuracies(self.asked),
            "vqa_unseen_pairs": accuracies(self.unseen),
            "vqa_without_picture": accuracies(self.asked, blind=True),
            "captions": asdict(self.captions),
            "captions_without_picture": asdict(self.blind_captions),
            "pope": [asdict(h) for h in self.hallucination],
            "perplexity": self.perplexity,
            "test_seed": self.seed,
        }


@dataclass(frozen=True)
class ConversationScores:
    """What is measured on a user's own conversations.

    Attributes:
        perplexity: of the held-out answers.
        exact: first answers that are word for word what the file has, 0..1.
        count: first answers.
        pairs: the file's answer and the model's.
    """

    perplexity: float
    exact: float
    count: int
    pairs: list[tuple[str, str]]


def measure_vlm(
    vlm: TrainedVLM, things: int, count: int = TESTED, seed: int = TEST_SEED
) -> Measured:
    """Ask a model about test scenes of one to `things` things.

    Args:
        vlm: the model.
        things: most things in a scene.
        count: scenes of each number of things.
        seed: of the scenes; choices are made on other seeds.
    """
    scenes, images = fresh_scenes(vlm, things, count, seed)
    seen = vlm.look(images)
    prompts = [PROMPT] * len(scenes)
    unseen_scenes, unseen_images = fresh_scenes(vlm, things, count, seed + 50, held_out=True)
    return Measured(
        asked=put_questions(vlm, scenes, seen, seed),
        unseen=put_questions(vlm, unseen_scenes, vlm.look(unseen_images), seed + 50),
        captions=score_captions(vlm.answers(seen, prompts), scenes),
        blind_captions=score_captions(vlm.answers(None, prompts), scenes),
        hallucination=poll(vlm, scenes, seen, seed),
        perplexity=answer_perplexity(vlm, _right_answers(scenes, seed), seen),
        seed=seed,
    )


def fresh_scenes(
    vlm: TrainedVLM, things: int, count: int, seed: int, held_out: bool = False
) -> tuple[list[Scene], Array]:
    """Scenes of one thing, of two, …, `count` of each, with their pictures."""
    side = vlm.model.config.vision.image
    made = [drawn(count, seed + n, side, n, held_out) for n in range(1, things + 1)]
    return [s for scenes, _ in made for s in scenes], np.concatenate([i for _, i in made])


def put_questions(vlm: TrainedVLM, scenes: Sequence[Scene], seen: Array, seed: int) -> list[Asked]:
    """One question of each kind about each scene, where it allows one; descriptions apart."""
    rng = np.random.default_rng(seed)
    asked = [
        (i, question)
        for i, scene in enumerate(scenes)
        for kind in KINDS
        if kind != "describe" and (question := ask(scene, kind, rng))
    ]
    texts = [question.text for _, question in asked]
    answers = vlm.answers(seen[[i for i, _ in asked]], texts)
    distinct = sorted(set(texts))
    blind = dict(zip(distinct, vlm.answers(None, distinct), strict=True))
    return [
        Asked(i, q.kind, len(scenes[i].things), q.text, q.answer, answer, blind[q.text])
        for (i, q), answer in zip(asked, answers, strict=True)
    ]


def accuracies(asked: Sequence[Asked], blind: bool = False) -> dict[str, dict[str, float]]:
    """The share of right answers by kind and by number of things, and the mean over kinds."""
    table: dict[str, dict[str, float]] = {}
    numbers = sorted({a.things for a in asked})
    for kind in dict.fromkeys(a.kind for a in asked):
        groups = {"all": [a for a in asked if a.kind == kind]}
        groups |= {str(n): [a for a in groups["all"] if a.things == n] for n in numbers}
        table[kind] = {
            name: float(
                np.mean([exact(a.blind if blind else a.answer, a.reference) for a in group])
            )
            for name, group in groups.items()
            if group
        }
    columns = ["all", *map(str, numbers)]
    table["mean"] = {
        column: float(np.mean([row[column] for row in table.values() if column in row]))
        for column in columns
    }
    return table


def poll(vlm: TrainedVLM, scenes: Sequence[Scene], seen: Array, seed: int) -> list[Hallucination]:
    """POPE on the scenes' shapes, with habits counted in the scenes of training."""
    s = vlm.settings
    side = vlm.model.config.vision.image
    training, _ = training_scenes(min(s.examples, HABITS_FROM), s.seed, side)
    habits = Habits.of([_shapes(scene) for scene in training], SHAPES)
    results = []
    for setting in SETTINGS:
        rng = np.random.default_rng((seed, 40))
        asked = polls([_shapes(scene) for scene in scenes], habits, setting, rng)
        texts = [f"is there {with_article(p.thing)} in the image?" for p in asked]
        answers = vlm.answers(seen[[p.picture for p in asked]], texts)
        results.append(judged(setting, asked, answers))
    return results


def answer_perplexity(
    vlm: TrainedVLM, talks: Sequence[Talk], features: Array, at_once: int = 50
) -> float:
    """The perplexity of answers that are right, given the pictures.

    Args:
        vlm: the model.
        talks: conversations whose answers are right.
        features: of all pictures, by their row (n, N, inputs).
        at_once: conversations read at a time.
    """

    def losses() -> Iterator[tuple[float, int]]:
        for start in range(0, len(talks), at_once):
            for part in parts(vlm, list(talks[start : start + at_once]), features):
                with no_grad():
                    seen = None if part.seen is None else Tensor(part.seen)
                    nats = vlm.model.loss(part.ids, part.labels, seen).item()
                yield nats, int((part.labels != IGNORE).sum())

    return perplexity(losses())


def measure_conversations(vlm: TrainedVLM, lessons: FileLessons) -> ConversationScores:
    """Measure on conversations of the file that were held out of training.

    Raises:
        InputError: none was held out, for there are too few.
    """
    lessons.check(vlm.sample)
    talks = lessons.held_out
    if not talks:
        raise InputError(f"{vlm.settings.data}: too few conversations to hold one out")
    features = vlm.look(lessons.images)
    asked, references = [], []
    for talk in talks:
        question, answer, *_ = talk.conversation.turns
        about = list(talk.pictures[: len(question.pictures)])  # later turns may show others
        asked.append("".join(vlm.stream(features[about] if about else None, [question])))
        references.append(answer.text)
    hits = [exact(a, r) for a, r in zip(asked, references, strict=True)]
    return ConversationScores(
        answer_perplexity(vlm, talks, features),
        float(np.mean(hits)),
        len(hits),
        list(zip(references, asked, strict=True)),
    )


def _right_answers(scenes: Sequence[Scene], seed: int) -> list[Talk]:
    """A conversation about each scene, in which all answers are right."""
    rng = np.random.default_rng((seed, 41))
    return [Talk(instruction(scene, 4, rng), (i,)) for i, scene in enumerate(scenes)]


def _shapes(scene: Scene) -> set[str]:
    return {thing.shape for thing in scene.things}

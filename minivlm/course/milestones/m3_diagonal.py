"""M3: a small CLIP learns which words go with which picture, and the diagonal lights up.

Two towers, one for pictures and one for words, and no label anywhere: a batch of pairs is all that
the loss sees, and each picture has to pick its own words among everyone's. The exam has a picture
and words for each of 64 pairs of colour and shape. Eight of these pairs are in no lesson.

Source: Radford et al. 2021, arXiv:2103.00020, fig. 1 and 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from minivlm.course.milestones.scenes import some_scenes
from minivlm.course.milestones.slopes import gradients_agree
from minivlm.data.draw import SMALLEST, draw
from minivlm.data.image import pixels
from minivlm.data.phrases import with_article
from minivlm.data.scenes import COLORS, HELD_OUT, SHAPES, Scene, Thing
from minivlm.evaluate.retrieval import recall
from minivlm.evaluate.zero_shot import class_embeddings, predict
from minivlm.models.clip import CLIP, CLIPConfig
from minivlm.models.text import TextConfig
from minivlm.models.vit import ViTConfig
from minivlm.ops.normalize import unit_length
from minivlm.tensor import Array, Tensor, no_grad
from minivlm.tokenizers.bpe import BPE
from minivlm.train.loop import Step, train
from minivlm.train.muon import Muon
from minivlm.train.schedule import warmup_cosine
from minivlm.viz.similarity import similarity_moments
from minivlm.viz.style import save_figure

TITLE = "A small CLIP: the diagonal lights up"
AFTER = "C"

KINDS: list[tuple[str, str]] = list(product(COLORS, SHAPES))  # colour and shape, 64 of them
TAUGHT = [kind for kind in KINDS if kind not in HELD_OUT]
WIDTH, CONTEXT = 48, 16
LESSONS, EXAM, BATCH = 2000, 200, 48
LR = 0.02
WANTED = 0.75  # find their own among 64 first, pictures as well as words
WANTED_NAMED = 0.6  # of other pictures, out of 64 names


def run(
    pictures: Path, say: Callable[[str], None], rng: np.random.Generator, steps: int = 300
) -> bool:
    """Train a CLIP, and ask it which words go with which picture; see `Milestone.run`."""
    scenes, images = some_scenes(LESSONS, 1, rng)
    x = pixels(images)
    kinds = np.array([TAUGHT.index(_kind(scene)) for scene in scenes])
    of_kind = [np.flatnonzero(kinds == kind) for kind in range(len(TAUGHT))]
    tokenizer = BPE.train([_words(kind) for kind in KINDS], vocab_size=400)
    ids = tokenizer.encode_batch([_words(kind) for kind in TAUGHT], CONTEXT)
    model = _model(tokenizer, rng)
    say(
        f"{LESSONS:,} pictures of {len(TAUGHT)} kinds, each with words such as "
        f'"{_words(KINDS[1])}".'
    )
    say(f"A CLIP of {model.size():,} numbers; a batch is {BATCH} pairs, no two alike.")

    def batches() -> Iterator[tuple[Array, Array]]:
        for _ in range(steps):
            picked = rng.choice(len(TAUGHT), BATCH, replace=False)
            yield x[[rng.choice(of_kind[kind]) for kind in picked]], ids[picked]

    def loss(batch: tuple[Array, Array]) -> Tensor:
        return model.loss(*batch)

    few = [int(of_kind[kind][0]) for kind in range(4)]
    if not gradients_agree(model, lambda: loss((x[few], ids[:4])), rng, say):
        return False
    exam = pixels(np.stack([draw(_alike(kind), SMALLEST, rng) for kind in KINDS]))
    words = tokenizer.encode_batch([_words(kind) for kind in KINDS], CONTEXT)
    say(f"Who guesses among {BATCH} pairs pays {math.log(BATCH):.2f} nats.")
    optimizer = Muon(model.named_parameters(), lr=LR)
    schedule = partial(warmup_cosine, steps=steps)
    taken = train(loss, batches(), optimizer, schedule, after_step=model.clamp_scale)
    moments = _watched(taken, steps, model, exam, words, say)
    cosines = moments[-1][1]
    found = {"words": recall(cosines)[1], "picture": recall(cosines.T)[1]}
    held = [i for i, kind in enumerate(KINDS) if kind in HELD_OUT]
    unseen = int((cosines[held].argmax(1) == held).sum())
    say(f"Of the {len(held)} pairs that were in no lesson, {unseen} pictures find their words.")
    named = _named(model, tokenizer, rng)
    say(f"Of {EXAM} other pictures it names {named:.0%}; wanted are {WANTED_NAMED:.0%}.")
    figure = similarity_moments([moments[i] for i in (0, 1, 3, -1)], COLORS)
    save_figure(figure, pictures / "M3.png")
    agree = _one_table(model, exam, words, say)
    say(
        f"{found['words']:.0%} of the pictures find their words first, and {found['picture']:.0%} "
        f"of the words their picture; wanted are {WANTED:.0%}."
    )
    return agree and named >= WANTED_NAMED and min(found.values()) >= WANTED


def _watched(
    taken: Iterable[Step],
    steps: int,
    model: CLIP,
    exam: Array,
    words: Array,
    say: Callable[[str], None],
) -> list[tuple[int, np.ndarray]]:
    """Take the steps; how many were done and the exam's cosines, at eleven moments."""
    moments = [(0, _cosines(model, exam, words))]
    for step in taken:
        done = step.number + 1
        if done % max(1, steps // 10) == 0:
            moments.append((done, _cosines(model, exam, words)))
        if done % max(1, steps // 5) == 0:
            first = recall(moments[-1][1])[1]
            say(f"  step {done:3} of {steps}: loss {step.loss:.3f}, {first:.0%} of 64 found first")
    return moments


def _model(tokenizer: BPE, rng: np.random.Generator) -> CLIP:
    vision = ViTConfig(SMALLEST, 8, WIDTH, heads=2, layers=2, pool="mean", pre_norm=False)
    vocabulary, end = tokenizer.vocab_size, tokenizer.end
    text = TextConfig(vocabulary, CONTEXT, WIDTH, heads=2, layers=1, end=end)
    return CLIP(CLIPConfig(vision, text, embed=WIDTH), rng)


def _kind(scene: Scene) -> tuple[str, str]:
    return scene.things[0].color, scene.things[0].shape


def _words(kind: tuple[str, str]) -> str:
    return with_article(" ".join(kind))


def _alike(kind: tuple[str, str]) -> Scene:
    """A scene that differs from others in nothing but the kind of its one thing."""
    color, shape = kind
    thing = Thing(shape, color, "large", "solid", cell=4, x=0.5, y=0.5, radius=0.155)
    return Scene((thing,), "gray")


def _cosines(model: CLIP, x: Array, ids: Array) -> np.ndarray:
    """Of each picture with each text (N, N): the model's logits without their scale."""
    with no_grad():
        return model(x, ids).data * model.temperature()


def _one_table(model: CLIP, exam: Array, words: Array, say: Callable[[str], None]) -> bool:
    """Whether the logits that the model gives are those that its loss is about."""
    with no_grad():
        logits, loss = model(exam, words).data, model.loss(exam, words).item()
    by_hand = (_surprise(logits) + _surprise(logits.T)) / 2
    same = abs(by_hand - loss) <= 1e-3
    told = "as its loss says" if same else f"and its loss says {loss:.3f}: they do not agree"
    say(f"By its table of logits, it pays {by_hand:.3f} nats a choice in the exam, {told}.")
    return same


def _surprise(logits: np.ndarray) -> float:
    """Of each row at the number on the diagonal, in nats, on average."""
    shifted = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted.diagonal()).mean())


def _named(model: CLIP, tokenizer: BPE, rng: np.random.Generator) -> float:
    """The share of random scenes whose kind is named right: zero-shot, for no name is a class."""
    scenes, images = some_scenes(EXAM, 1, rng)

    def embedded(texts: list[str]) -> np.ndarray:
        return unit_length(model.encode_text(tokenizer.encode_batch(texts, CONTEXT))).data

    with no_grad():
        classes = class_embeddings(embedded, [_words(kind) for kind in KINDS])
        said = predict(unit_length(model.encode_image(pixels(images))).data, classes)
    return float(np.mean([KINDS[i] == _kind(s) for i, s in zip(said, scenes, strict=True)]))

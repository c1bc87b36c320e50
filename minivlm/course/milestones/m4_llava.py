"""M4: a small LLaVA answers "what color is the square?".

The eye is that of the CLIP that comes with minivlm, and stays as it is. A projector makes nine soft
words of what it sees, and a language model that begins with random weights learns to read them.
There are two things in each picture, so that half of the answers would be right for naming any
colour that is there. To get more, the model has to find the thing that the question is about.

Source: Liu et al. 2023, arXiv:2304.08485, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from minivlm.course.milestones.scenes import some_scenes
from minivlm.course.milestones.slopes import gradients_agree
from minivlm.course.milestones.talker import Talker
from minivlm.course.milestones.telling import told
from minivlm.data.chat import next_token_labels, padded
from minivlm.data.scenes import Scene
from minivlm.models.generate import Sampling
from minivlm.ops.losses import IGNORE
from minivlm.tensor import Array, Tensor
from minivlm.train.loop import train
from minivlm.train.muon import Muon
from minivlm.train.schedule import warmup_cosine
from minivlm.viz.attention import answer_attention
from minivlm.viz.style import save_figure

TITLE = 'A small LLaVA answers "what color is the square?"'
AFTER = "D"

LESSONS, EXAM, BATCH = 1500, 200, 24  # pictures; there are two questions about each
LR, DECAY = 0.02, 0.05
WANTED = 0.85  # of the answers, where half are right for naming any colour that is there
DRAWS = 20

Batch = tuple[Array, Array, Array]  # ids, labels, patch features


def run(
    pictures: Path, say: Callable[[str], None], rng: np.random.Generator, steps: int = 400
) -> bool:
    """Train a LLaVA, ask it for colours, and keep it for M5; see `Milestone.run`."""
    talker = trained(say, rng, steps)
    if talker is None:
        return False
    scenes, images = two_things(EXAM, rng)
    asked = [thing for scene in scenes for thing in scene.things]  # about both in each
    shapes = [thing.shape for thing in asked]
    seen = talker.look(images).repeat(2, 0)
    said = talker.answers(seen, shapes)
    right = np.array([word == thing.color for word, thing in zip(said, asked, strict=True)])
    cells = np.array([thing.cell for thing in asked])
    other = cells.reshape(-1, 2)[:, ::-1].ravel()  # the cell of the thing not asked about
    block, looks = _finder(talker.attention(seen, shapes), cells, other, say)

    rows = np.arange(len(cells))
    n = _clearest(shapes, right, looks[rows, cells] - looks[rows, other])
    figure = answer_attention(
        images[n],
        f"what color is …    (mean of block {block + 1}'s heads)",
        [f"the {shapes[i]}? {said[i]}" for i in (2 * n, 2 * n + 1)],
        looks[2 * n : 2 * n + 2].reshape(2, 3, 3),
    )
    save_figure(figure, pictures / "M4.png")
    _draws(talker, seen[2 * n], shapes[2 * n], said[2 * n], rng, say)
    say(f"It knows {right.mean():.1%} of {len(right)} colours; wanted are {WANTED:.0%}.")
    if right.mean() < WANTED:
        return False
    talker.save(weights_for(pictures))
    return True


def trained(
    say: Callable[[str], None], rng: np.random.Generator, steps: int = 400
) -> Talker | None:
    """A model that has had its lessons; None if its gradients are wrong."""
    talker = Talker.untrained(rng)
    model = talker.model
    scenes, images = two_things(LESSONS, rng)
    seen = talker.look(images)  # once, for the eye never changes
    moving = model.projector.size() + model.decoder.size()
    say(
        f"{LESSONS:,} pictures of two things. The eye is CLIP's, with "
        f"{model.vision.size():,} numbers."
    )
    say(f"A projector and a language model of {moving:,} numbers begin at random.")

    def lesson(picked: Array) -> Batch:
        """Two questions about each picture: only what is asked about tells their answers apart."""
        things = [thing for n in picked for thing in scenes[n].things]
        samples = [talker.sample(thing.shape, thing.color) for thing in things]
        ids, learnt = padded(samples, talker.tokenizer.special("<pad>"))
        return ids, next_token_labels(ids, learnt, IGNORE), seen[picked].repeat(2, 0)

    def loss(batch: Batch) -> Tensor:
        ids, labels, features = batch
        return model.loss(ids, labels, Tensor(features))

    first = lesson(np.arange(2))
    if not gradients_agree(model, lambda: loss(first), rng, say):
        return None
    optimizer = Muon(model.named_parameters(), LR, LR / 10, weight_decay=DECAY)
    batches = (lesson(rng.choice(LESSONS, BATCH, replace=False)) for _ in range(steps))
    told(train(loss, batches, optimizer, lambda n: warmup_cosine(n, steps)), steps, 8, say)
    return talker


def _draws(
    talker: Talker,
    seen: Array,
    shape: str,
    answer: str,
    rng: np.random.Generator,
    say: Callable[[str], None],
) -> None:
    """Let it draw its answer instead of taking the most probable; patch features (N, inputs)."""
    many, told = np.stack([seen] * DRAWS), []
    for heat in (1.0, 2.0):
        drawn = talker.answers(many, [shape] * DRAWS, Sampling(temperature=heat), rng)
        told.append(f"{drawn.count(answer)} of {DRAWS} at temperature {heat:g}")
    say(f"Answers that are drawn say that the {shape} is {answer}: {', '.join(told)}.")


def two_things(count: int, rng: np.random.Generator) -> tuple[list[Scene], np.ndarray]:
    """Scenes of two different shapes, and their pictures uint8 (N, 48, 48, 3)."""
    return some_scenes(count, 2, rng, lambda scene: len({t.shape for t in scene.things}) == 2)


def weights_for(pictures: Path) -> Path:
    """Where the model is kept: beside the folder of pictures, not in it."""
    return pictures.with_name("milestones") / "m4.safetensors"


def _finder(
    looks: np.ndarray, cells: np.ndarray, other: np.ndarray, say: Callable[[str], None]
) -> tuple[int, np.ndarray]:
    """The block that best tells the thing which is asked about from the other.

    Args:
        looks: attention to the soft words (n, blocks, heads, 9), which lie as a scene's cells do.
        cells: where the things asked about are (n,).
        other: where the others are (n,).
        say: is told how well it does.

    Returns:
        Its number, and the mean attention of its heads (n, 9).
    """
    rows, mean = np.arange(len(cells)), looks.mean(2)  # (n, blocks, 9)
    to_it, to_other = (mean[rows, :, cell].mean(0) for cell in (cells, other))
    block = int((to_it - to_other).argmax())
    say(
        f"In the moment of answering, block {block + 1} pays {to_it[block]:.0%} of its attention "
        f"to the thing asked about and {to_other[block]:.0%} to the other."
    )
    return block, mean[:, block]


def _clearest(shapes: list[str], right: np.ndarray, more: np.ndarray) -> int:
    """Of the scenes with a square in which both colours were known, where attention shows it best.

    Args:
        shapes: asked about, two for each scene.
        right: whether the answer was.
        more: attention to the thing asked about, less that to the other.

    Returns:
        The scene's number; 0 where there is none.
    """
    least = np.where(right, more, -1).reshape(-1, 2).min(1)
    has_square = np.array(shapes).reshape(-1, 2) == "square"
    return int(np.where(has_square.any(1), least, -1).argmax())

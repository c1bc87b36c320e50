"""M2: a vision transformer names shapes, and shows where it looked.

It is told nothing about where in the picture the shape is. The class token has to find it: that
token begins the same in every picture, gathers from the patches by attention, and in the end is
all that the name is read from. So its attention must go to the patches that matter.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929, fig. 1 and section D.7.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from minivlm.course.milestones.scenes import some_scenes
from minivlm.course.milestones.slopes import gradients_agree
from minivlm.course.milestones.telling import told
from minivlm.data.draw import SMALLEST
from minivlm.data.image import pixels
from minivlm.data.scenes import SHAPES, Scene
from minivlm.models.vit import ViT, ViTConfig
from minivlm.nn.layers import Linear
from minivlm.nn.module import Module
from minivlm.ops.losses import cross_entropy
from minivlm.ops.normalize import softmax
from minivlm.tensor import Array, Tensor, no_grad
from minivlm.train.loop import train
from minivlm.train.muon import Muon
from minivlm.train.schedule import warmup_cosine
from minivlm.viz.heads import named_overlays, rollout
from minivlm.viz.patches import patches_of_things
from minivlm.viz.style import save_figure

TITLE = "A vision transformer names shapes"
AFTER = "B"

CONFIG = ViTConfig(image=SMALLEST, patch=8, width=48, heads=2, layers=2, pre_norm=False)
GRID = CONFIG.image // CONFIG.patch
LESSONS, EXAM, BATCH = 2000, 300, 48
LR = 0.02
WANTED = 0.8  # of the exam, where guessing gets one in eight
WANTED_ON_IT = 0.5  # of the attention to patches; evenly spread, one fifth would be on the shape


class Namer(Module):
    """Pixels (B, 3, S, S) to a logit for each shape (B, 8)."""

    def __init__(self, rng: np.random.Generator):
        self.vit = ViT(CONFIG, rng)
        self.head = Linear(CONFIG.width, len(SHAPES), rng=rng)

    def __call__(self, x: Array) -> Tensor:
        """Read off the class token."""
        return self.head(self.vit(x))


def run(
    pictures: Path, say: Callable[[str], None], rng: np.random.Generator, steps: int = 300
) -> bool:
    """Train a vision transformer, and look where it looks; see `Milestone.run`."""
    scenes, images = some_scenes(LESSONS + EXAM, 1, rng, _solid)
    x = pixels(images)
    labels = np.array([SHAPES.index(scene.things[0].shape) for scene in scenes])
    model = Namer(rng)
    say(f"{LESSONS:,} pictures, each with one of {len(SHAPES)} shapes somewhere in it.")
    say(f"A vision transformer of {model.size():,} numbers reads {CONFIG.patches} patches of each.")

    def loss(batch: np.ndarray) -> Tensor:
        return cross_entropy(model(x[batch]), labels[batch])

    if not gradients_agree(model, lambda: loss(np.arange(3)), rng, say):
        return False
    optimizer = Muon(model.named_parameters(), lr=LR, adamw_lr=LR / 10)
    batches = (rng.choice(LESSONS, BATCH, replace=False) for _ in range(steps))
    told(train(loss, batches, optimizer, lambda n: warmup_cosine(n, steps)), steps, 6, say)

    exam = slice(LESSONS, None)
    with no_grad():
        shares = softmax(model(x[exam])).data
    right = float((shares.argmax(1) == labels[exam]).mean())
    looks = _looks(model.vit, x[exam])
    covered = np.stack([patches_of_things(scene, GRID) for scene in scenes[exam]])
    on_it = float((looks * covered).sum((1, 2)).mean())
    say(
        f"Shapes lie on {covered.mean():.0%} of the patches, and get {on_it:.0%} of the class "
        f"token's attention; wanted are {WANTED_ON_IT:.0%}."
    )
    save_figure(_overlays(images[exam], labels[exam], shares, looks), pictures / "M2.png")
    say(f"It names {right:.1%} of {EXAM} other pictures; wanted are {WANTED:.0%}.")
    return right >= WANTED and on_it >= WANTED_ON_IT


def _solid(scene: Scene) -> bool:
    return scene.things[0].texture == "solid"


def _looks(vit: ViT, x: Array) -> np.ndarray:
    """Each patch's share in what the class token gathers from patches (B, GRID, GRID)."""
    layers = vit.attention_maps(x)
    through = np.stack([rollout([weights[b] for weights in layers])[0, 1:] for b in range(len(x))])
    return (through / through.sum(1, keepdims=True)).reshape(-1, GRID, GRID)


def _overlays(
    images: np.ndarray, labels: np.ndarray, shares: np.ndarray, looks: np.ndarray
) -> Figure:
    """The first picture of each shape, what it was taken for, and where the model looked."""
    shown = [int(np.flatnonzero(labels == shape)[0]) for shape in range(len(SHAPES))]
    names = []
    for i in shown:
        said = shares[i].argmax()
        correct = "✓" if said == labels[i] else f"✗ a {SHAPES[labels[i]]}"
        names.append(f"{SHAPES[said]}, {shares[i, said]:.0%}\n{correct}")
    figure = named_overlays(images[shown], looks[shown], names)
    figure.suptitle("what it says, and where the class token looked through both layers")
    return figure

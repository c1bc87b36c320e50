"""M1: a multilayer perceptron tells circles from squares and triangles.

A picture of 16×16 pixels is a row of 768 numbers. One matrix makes 64 of them, which are brought
to an even size and bent; a second matrix makes three numbers, one for each name. Each lesson is
given twice, with the picture and with its mirror image, so each weight gets two gradients. All that
this needs is in part A: products of matrices, sums that broadcast, layer norm, softmax,
cross-entropy, and the sweep backward.

Source: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from minivlm.course.milestones.scenes import some_scenes
from minivlm.course.milestones.slopes import gradients_agree
from minivlm.course.milestones.telling import told
from minivlm.data.image import pixels
from minivlm.data.scenes import Scene
from minivlm.nn.layers import LayerNorm, Linear, normal
from minivlm.nn.module import Module, parameter
from minivlm.ops.activations import sigmoid
from minivlm.ops.losses import cross_entropy
from minivlm.ops.normalize import softmax
from minivlm.tensor import Tensor, no_grad
from minivlm.train.loop import train
from minivlm.train.optim import AdamW
from minivlm.train.schedule import warmup_cosine
from minivlm.viz.sheets import contact_sheet
from minivlm.viz.style import save_figure

TITLE = "A multilayer perceptron separates shapes"
AFTER = "A"

NAMES = ("circle", "square", "triangle")
SIDE = 16  # pixels: a ninth of a scene, with the thing in it
HIDDEN = 64
LESSONS, EXAM, BATCH = 1200, 300, 64
WANTED = 0.9  # of the exam, where guessing gets a third


class MLP(Module):
    """Rows of numbers (B, D) to a logit for each name (B, 3)."""

    def __init__(self, inputs: int, rng: np.random.Generator):
        self.first = Linear(inputs, HIDDEN, rng=rng)
        self.norm = LayerNorm(HIDDEN)
        self.W = parameter(normal((HIDDEN, len(NAMES)), HIDDEN**-0.5, rng))
        self.b = parameter(np.zeros(len(NAMES)))

    def __call__(self, x: Tensor) -> Tensor:
        """Two matrices with a bend between them."""
        h = self.norm(self.first(x))
        h = h * sigmoid(h)
        return h @ self.W + self.b


def run(
    pictures: Path, say: Callable[[str], None], rng: np.random.Generator, steps: int = 150
) -> bool:
    """Train an MLP, and let it name shapes that it has not seen; see `Milestone.run`."""
    images, labels = cut_out(LESSONS + EXAM, rng)
    x, mirrored = (pixels(some).reshape(len(some), -1) for some in (images, images[:, :, ::-1]))
    exam = slice(LESSONS, None)
    model = MLP(x.shape[1], rng)
    say(f"{LESSONS:,} pictures of {SIDE}×{SIDE} pixels: circles, squares and triangles.")
    say(f"A multilayer perceptron: {x.shape[1]} numbers → {HIDDEN} → {len(NAMES)}.")

    def loss(batch: np.ndarray) -> Tensor:
        one, other = (model(Tensor(views[batch])) for views in (x, mirrored))
        return (cross_entropy(one, labels[batch]) + cross_entropy(other, labels[batch])) * 0.5

    if not gradients_agree(model, lambda: loss(np.arange(8)), rng, say):
        return False
    optimizer = AdamW(model.named_parameters(), lr=3e-3)
    batches = (rng.choice(LESSONS, BATCH, replace=False) for _ in range(steps))
    told(train(loss, batches, optimizer, lambda n: warmup_cosine(n, steps)), steps, 3, say)

    with no_grad():
        shares = softmax(model(Tensor(x[exam]))).data
    if not np.allclose(shares.sum(1), 1, atol=1e-5):
        say("What softmax makes of a picture's three numbers does not sum to 1.")
        return False
    right = float((shares.argmax(1) == labels[exam]).mean())
    save_figure(_sheet(images[exam], labels[exam], shares, right), pictures / "M1.png")
    say(f"It names {right:.1%} of {EXAM} other pictures; wanted are {WANTED:.0%}.")
    return right >= WANTED


def cut_out(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Things alone, uint8 (N, 16, 16, 3), and the numbers of their names (N,)."""

    def wanted(scene: Scene) -> bool:
        return scene.things[0].shape in NAMES

    scenes, whole = some_scenes(count, 1, rng, wanted)
    images = []
    for scene, image in zip(scenes, whole, strict=True):
        row, column = divmod(scene.things[0].cell, 3)
        images.append(image[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE])
    return np.stack(images), np.array([NAMES.index(scene.things[0].shape) for scene in scenes])


def _sheet(images: np.ndarray, labels: np.ndarray, shares: np.ndarray, right: float):
    """Four pictures as they come, and the four of whose names the model was least sure."""
    unsure = np.argsort(shares.max(1), kind="stable")[:4]
    shown = [*range(4), *unsure.tolist()]
    captions = []
    for i in shown:
        said = shares[i].argmax()
        correct = "✓" if said == labels[i] else f"✗ it is a {NAMES[labels[i]]}"
        captions.append(f"{NAMES[said]}, {shares[i, said]:.0%} {correct}")
    figure = contact_sheet(images[shown], captions)
    figure.suptitle(
        f"{right:.0%} of {len(images)} named right: four of them, and the four least sure"
    )
    return figure

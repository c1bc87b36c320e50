"""Draws `tour.svg`, the data's way through the files, with `python docs/tour.py`.

What a box says is the first sentence of the file's docstring, and its column is the layer that the
file lies in, so the picture is as true as the code. The data goes down and comes back at each step.
"""

from __future__ import annotations

import ast
from pathlib import Path

from minivlm.viz.style import BLUE, GREEN, ORANGE
from minivlm.viz.svg import Drawing

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "minivlm"

COLUMN = {"train": 0, "evaluate": 0, "data": 1, "tokenizers": 1, "models": 2, "nn": 3, "ops": 4}
NAMES = ("train, evaluate", "data, tokenizers", "models", "nn", "ops", "tensor")
CLIP = (
    "data/scenes",
    "data/draw",
    "data/phrases",
    "tokenizers/bpe",
    "models/vit",
    "ops/convolve",
    "nn/block",
    "nn/multihead",
    "ops/attention",
    "models/text",
    "models/clip",
    "ops/contrastive",
    "tensor",
    "train/muon",
    "train/loop",
    "evaluate/zero_shot",
    "evaluate/retrieval",
)
LLAVA = (
    "data/chat",
    "models/llava",
    "models/projector",
    "models/decoder",
    "nn/causal",
    "ops/rotary",
    "ops/losses",
    "tensor",
    "train/stages",
    "nn/lora",
    "models/generate",
    "evaluate/answers",
    "evaluate/captions",
    "evaluate/pope",
)

STEP, TOP, COLUMN_WIDTH, BOX = 32, 76, 106, 96
WIDTH = 1150


def first_sentence(file: Path) -> str:
    """How the file's docstring begins, without its full stop."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n")[0].rstrip(".")


def column(name: str) -> int:
    """The column of a file such as "nn/block"; tensor.py has the last one."""
    return COLUMN.get(name.split("/")[0], len(NAMES) - 1)


def draw() -> Drawing:
    """Both routes, one below the other."""
    height = TOP + STEP * (len(CLIP) + len(LLAVA) + 2) + 10
    drawing = Drawing(WIDTH, height, "the data's way through minivlm's files")
    for number, words in enumerate(NAMES):
        x = 16 + COLUMN_WIDTH * number
        drawing.text(x + BOX / 2, 26, words, size=10, bold=True)
        drawing.line(x + BOX / 2, 34, x + BOX / 2, height - 10, thickness=0.4, ink="#BBBBBB")
    y = draw_route(drawing, "CLIP: which picture belongs to which text?", CLIP, BLUE, TOP - 24)
    draw_route(drawing, "LLaVA: the eye, frozen, learns to talk", LLAVA, ORANGE, y)
    return drawing


def draw_route(drawing: Drawing, title: str, files: tuple[str, ...], color: str, y: float) -> float:
    """A title and a box for each file, joined; where the next route begins."""
    drawing.text(16, y + 20, title, size=14, anchor="start", bold=True)
    y += STEP
    for number, name in enumerate(files):
        x = 16 + COLUMN_WIDTH * column(name)
        if number + 1 < len(files):
            after = 16 + COLUMN_WIDTH * column(files[number + 1])
            drawing.line(x + BOX / 2, y + 22, after + BOX / 2, y + STEP, ink=color, thickness=2)
        fill = GREEN if name == "tensor" else color
        drawing.box(x, y, BOX, 22, "#FFFFFF")
        drawing.box(x, y, BOX, 22, fill, round=4, opacity=0.25)
        drawing.text(x + BOX / 2, y + 15, name.split("/")[-1] + ".py", size=11)
        words = first_sentence(PACKAGE / f"{name}.py")
        drawing.text(16 + COLUMN_WIDTH * len(NAMES) + 4, y + 15, words, size=10, anchor="start")
        y += STEP
    return y


if __name__ == "__main__":
    draw().save(HERE / "tour.svg")

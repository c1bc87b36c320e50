"""What a scene is: a few coloured shapes on a three-by-three grid, before anything is drawn.

Everything is known about a scene, so whatever a model says of it can be scored exactly. Eight
pairs of colour and shape are held out: a model that names them has learnt colour and shape apart.
"""

from dataclasses import dataclass

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross", "heart", "ring")
COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "pink")
SIZES = ("small", "large")
TEXTURES = ("solid", "striped")
BACKGROUNDS = ("black", "navy", "gray", "brown")
PLACES = (
    *("top left", "top", "top right"),
    *("left", "center", "right"),
    *("bottom left", "bottom", "bottom right"),
)
MOST_THINGS = len(PLACES)

# One pair for each colour and one for each shape; no training scene ever shows one.
HELD_OUT = frozenset((color, SHAPES[(3 * i + 1) % 8]) for i, color in enumerate(COLORS))

SHAPE_CHANCES = np.array([0.20, 0.18, 0.15, 0.12, 0.10, 0.10, 0.08, 0.07])
PAIRED = (("circle", "star"), ("square", "triangle"), ("diamond", "cross"), ("heart", "ring"))
BUDDIES = {a: b for a, b in PAIRED} | {b: a for a, b in PAIRED}
BUDDY_CHANCE = 0.4  # that a thing's shape is the buddy of the thing before it
STRIPED_CHANCE = 0.3
COUNT_CHANCES = np.array([0.25, 0.35, 0.25, 0.15])  # of one, two, three, four things
RADII = {"small": (0.105, 0.118), "large": (0.148, 0.162)}
JITTER = {"small": 0.030, "large": 0.012}


@dataclass(frozen=True)
class Thing:
    """A coloured shape in a cell of the grid.

    Attributes:
        shape: one of SHAPES.
        color: one of COLORS.
        size: "small" or "large".
        texture: "solid" or "striped".
        cell: 0..8, in reading order; its name is PLACES[cell].
        x: centre from the left, as a fraction of the picture's side.
        y: centre from the top, likewise.
        radius: likewise.
    """

    shape: str
    color: str
    size: str
    texture: str
    cell: int
    x: float
    y: float
    radius: float

    @property
    def place(self) -> str:
        """The name of its cell."""
        return PLACES[self.cell]


@dataclass(frozen=True)
class Scene:
    """Things in reading order, no two of the same colour and shape, on a background."""

    things: tuple[Thing, ...]
    background: str


def sample_scene(
    rng: np.random.Generator, count: int | None = None, held_out: bool = False
) -> Scene:
    """Make up a scene.

    Shapes are not equally frequent, and some keep company (`BUDDIES`): a model that knows which
    things usually go together can be caught saying what it expects rather than what it sees.

    Args:
        rng: decides everything.
        count: number of things, 1..9; None draws 1 to 4 by COUNT_CHANCES.
        held_out: one thing is of a held-out pair; otherwise none is.

    Raises:
        ValueError: the count is not in 1..9.
    """
    if count is None:
        count = 1 + int(rng.choice(4, p=COUNT_CHANCES))
    if not 1 <= count <= MOST_THINGS:
        raise ValueError(f"{count} things do not fit into a scene of 1..{MOST_THINGS}")
    kinds: list[tuple[str, str]] = []  # colour and shape
    while len(kinds) < count:
        if held_out and not kinds:
            kind = sorted(HELD_OUT)[rng.integers(len(HELD_OUT))]
        else:
            kind = (COLORS[rng.integers(8)], _sample_shape(rng, kinds[-1][1] if kinds else None))
            if kind in HELD_OUT:
                continue
        if kind not in kinds:
            kinds.append(kind)
    cells = rng.permutation(MOST_THINGS)[:count]
    things = [_place(rng, *kind, int(cell)) for kind, cell in zip(kinds, cells, strict=True)]
    things.sort(key=lambda thing: thing.cell)
    return Scene(tuple(things), BACKGROUNDS[rng.integers(4)])


def _sample_shape(rng: np.random.Generator, previous: str | None) -> str:
    if previous is not None and rng.random() < BUDDY_CHANCE:
        return BUDDIES[previous]
    return SHAPES[rng.choice(8, p=SHAPE_CHANCES)]


def _place(rng: np.random.Generator, color: str, shape: str, cell: int) -> Thing:
    size = SIZES[rng.integers(2)]
    row, column = divmod(cell, 3)
    dx, dy = rng.uniform(-JITTER[size], JITTER[size], 2)
    return Thing(
        shape,
        color,
        size,
        texture=TEXTURES[int(rng.random() < STRIPED_CHANCE)],
        cell=cell,
        x=(column + 0.5) / 3 + float(dx),
        y=(row + 0.5) / 3 + float(dy),
        radius=float(rng.uniform(*RADII[size])),
    )

"""From a scene to pixels: shapes are drawn large with Pillow and shrunk, so that edges are smooth.

Backgrounds are darker than every colour; with light ones as well, shape was learnt much later.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, ImageDraw

from minivlm.data.scenes import Scene, Thing, sample_scene
from minivlm.errors import InputError

SMALLEST, LARGEST = 48, 384  # side of a picture in pixels
RGB = {
    "red": (220, 40, 40),
    "green": (40, 165, 60),
    "blue": (50, 95, 240),
    "yellow": (240, 215, 40),
    "purple": (150, 70, 200),
    "orange": (245, 140, 30),
    "cyan": (50, 205, 215),
    "pink": (250, 130, 180),
}
BACKGROUND_RGB = {"black": (14, 14, 18), "navy": (20, 26, 72), "gray": (78, 78, 82)}
BACKGROUND_RGB |= {"brown": (78, 50, 28)}
OVERSAMPLING = 3
COLOR_JITTER = 14  # each channel of a thing, of 255
GRADIENT = 12.0  # of the background, from its middle to an edge, of 255
NOISE = 5.0  # standard deviation, of 255
MOST_TURN = math.radians(12)
STRIPE = 1 / 24  # width, as a fraction of the picture's side
STRIPE_SHADE = 0.35


def draw(scene: Scene, size: int, rng: np.random.Generator) -> np.ndarray:
    """The picture of a scene.

    Args:
        scene: what to draw.
        size: side in pixels, 48..384.
        rng: decides what the scene leaves open: exact hues, angles, the background's gradient,
            noise.

    Returns:
        Pixels uint8 (size, size, 3), 0..255.

    Raises:
        InputError: the size is out of its range.
    """
    if not SMALLEST <= size <= LARGEST:
        raise InputError(f"image side {size} is not in {SMALLEST}..{LARGEST} pixels")
    side = size * OVERSAMPLING
    canvas = Image.new("RGB", (side, side))
    canvas.paste(_background(scene.background, rng).resize((side, side), Image.Resampling.BILINEAR))
    for thing in scene.things:
        _paste(canvas, thing, rng)
    small = np.asarray(canvas.reduce(OVERSAMPLING), np.float32)
    noisy = small + rng.standard_normal(small.shape, np.float32) * np.float32(NOISE)
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


def make_scenes(
    count: int,
    seed: int,
    size: int = SMALLEST,
    things: int | None = None,
    held_out: bool = False,
    progress: Callable[[range], Iterable[int]] = iter,
) -> tuple[list[Scene], np.ndarray]:
    """Scenes with their pictures; scene i of a seed is the same, however many are made.

    Args:
        count: how many.
        seed: decides everything; different seeds share no scene but by chance.
        size: side of a picture in pixels, 48..384.
        things: in each scene, 1..9; None draws 1 to 4.
        held_out: see `sample_scene`.
        progress: wraps the loop over scenes, as `tqdm` does.

    Returns:
        The scenes, and their pictures uint8 (count, size, size, 3).
    """
    scenes, images = [], np.empty((count, size, size, 3), np.uint8)
    for number in progress(range(count)):
        rng = np.random.default_rng((seed, number))
        scenes.append(sample_scene(rng, things, held_out))
        images[number] = draw(scenes[-1], size, rng)
    return scenes, images


def _background(name: str, rng: np.random.Generator) -> Image.Image:
    """A tiny picture that runs from darker to lighter, across or down, either way."""
    ramp = np.linspace(-GRADIENT, GRADIENT, 8, dtype=np.float32) * rng.choice((-1, 1))
    ramp = ramp[:, None] if rng.random() < 0.5 else ramp[None, :]
    pixels = np.zeros((8, 8, 1), np.float32) + ramp[..., None] + BACKGROUND_RGB[name]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _paste(canvas: Image.Image, thing: Thing, rng: np.random.Generator) -> None:
    """Draw a thing's outline as a mask, and its colour or stripes through the mask."""
    side = canvas.width
    reach = int(thing.radius * side * 1.15) + 2  # half the side of the mask
    corner = (int(thing.x * side - reach), int(thing.y * side - reach))
    rgb = np.array(RGB[thing.color]) + rng.integers(-COLOR_JITTER, COLOR_JITTER + 1, 3)
    color = _rgb(rgb)
    mask = OUTLINES[thing.shape](thing.radius * side, reach, rng.uniform(-MOST_TURN, MOST_TURN))
    if thing.texture == "solid":
        canvas.paste(color, corner, mask)
        return
    fill = Image.new("RGB", mask.size, color)
    brush = ImageDraw.Draw(fill)
    width = max(2, round(side * STRIPE))
    start = -2 * reach + int(rng.integers(2 * width))
    for left in range(start, 4 * reach, 2 * width):
        slanted = [(left, 0), (left + width, 0)]
        slanted += [(left + width - reach, 2 * reach), (left - reach, 2 * reach)]
        brush.polygon(slanted, fill=_rgb(rgb * STRIPE_SHADE))
    canvas.paste(fill, corner, mask)


def _rgb(values: np.ndarray) -> tuple[int, int, int]:
    r, g, b = np.clip(values, 0, 255).astype(int).tolist()
    return r, g, b


Outline = Callable[[float, int, float], Image.Image]  # radius, half the mask's side, angle


def _disc(hole: float) -> Outline:
    def outline(radius: float, reach: int, _: float) -> Image.Image:
        mask = Image.new("L", (2 * reach, 2 * reach))
        brush = ImageDraw.Draw(mask)
        for share, shade in ((0.95, 255), (hole, 0)):
            r = radius * share
            if r:
                brush.ellipse((reach - r, reach - r, reach + r, reach + r), fill=shade)
        return mask

    return outline


def _polygon(corners: list[tuple[float, float]]) -> Outline:
    unit = np.array(corners)

    def outline(radius: float, reach: int, angle: float) -> Image.Image:
        c, s = math.cos(angle), math.sin(angle)
        turned = unit @ np.array([[c, s], [-s, c]]) * radius + reach
        mask = Image.new("L", (2 * reach, 2 * reach))
        ImageDraw.Draw(mask).polygon(turned.ravel().tolist(), fill=255)
        return mask

    return outline


def _star() -> list[tuple[float, float]]:
    tips = [(k * math.pi / 5, 0.45 if k % 2 else 1.08) for k in range(10)]
    return [(r * math.sin(a), -r * math.cos(a)) for a, r in tips]


def _heart() -> list[tuple[float, float]]:
    def at(t: float) -> tuple[float, float]:
        lobes = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        return 16 * math.sin(t) ** 3 / 16.5, -lobes / 16.5

    return [at(k * math.pi / 14) for k in range(28)]


def _cross(half: float = 0.36) -> list[tuple[float, float]]:
    quarter = [(-half, -1.0), (half, -1.0), (half, -half)]  # turned by 90° for each arm
    arms, corners = range(4), quarter
    return [_turned(corner, arm) for arm in arms for corner in corners]


def _turned(corner: tuple[float, float], quarters: int) -> tuple[float, float]:
    x, y = corner
    for _ in range(quarters):
        x, y = -y, x
    return x, y


OUTLINES: dict[str, Outline] = {
    "circle": _disc(hole=0.0),
    "ring": _disc(hole=0.5),
    "square": _polygon([(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]),
    "diamond": _polygon([(0, -1.08), (0.72, 0), (0, 1.08), (-0.72, 0)]),
    "triangle": _polygon([(0, -1), (0.95, 0.8), (-0.95, 0.8)]),
    "star": _polygon(_star()),
    "cross": _polygon(_cross()),
    "heart": _polygon(_heart()),
}

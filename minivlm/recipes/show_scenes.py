"""`minivlm scenes`: look at the pictures that everything here is trained on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minivlm.data.draw import LARGEST, SMALLEST, make_scenes
from minivlm.data.phrases import caption, describe
from minivlm.data.questions import KINDS, ask
from minivlm.data.scenes import MOST_THINGS
from minivlm.errors import InputError
from minivlm.viz.sheets import contact_sheet
from minivlm.viz.style import save_figure

MOST = 100  # scenes on a sheet
TERMINAL_COLUMNS = 48  # pixels across; each character shows two, one above the other


def show_scenes(
    count: int, size: int, things: int | None, seed: int, out: Path, in_terminal: bool
) -> Iterator[str]:
    """Draw a sheet of scenes into a file, and say what is in them, line by line.

    Raises:
        InputError: a number is out of its range, or the file cannot be written.
    """
    check_scene_options(count, MOST, size, things, seed)
    if not out.parent.is_dir():
        raise InputError(f"{out.parent}: no such folder")
    scenes, images = make_scenes(count, seed, size, things=things)
    rng = np.random.default_rng((seed, 1))
    captions = [caption(scene, rng) for scene in scenes]
    save_figure(contact_sheet(images, captions, columns=min(4, count)), out)
    for scene, image, words in zip(scenes, images, captions, strict=True):
        if in_terminal:
            yield from terminal_picture(image)
        yield f"caption    {words}"
        yield f"in full    {describe(scene)}"
        asked = [q for kind in KINDS if kind != "describe" if (q := ask(scene, kind, rng))]
        for i in rng.choice(len(asked), 3, replace=False):
            yield f"question   {asked[i].text} {asked[i].answer}"
        yield ""
    yield f"Drawn into {out}"


def check_scene_options(count: int, most: int, size: int, things: int | None, seed: int) -> None:
    """Refuse numbers that no scene can be drawn by.

    Raises:
        InputError: one is out of its range.
    """
    if not 1 <= count <= most:
        raise InputError(f"--count {count} is not in 1..{most}")
    if not SMALLEST <= size <= LARGEST:
        raise InputError(f"--size {size} is not in {SMALLEST}..{LARGEST}")
    if things is not None and not 1 <= things <= MOST_THINGS:
        raise InputError(f"--things {things} is not in 1..{MOST_THINGS}")
    if seed < 0:
        raise InputError(f"--seed {seed} is negative")


def terminal_picture(image: np.ndarray) -> Iterator[str]:
    """Lines that show a picture (S, S, 3) in a terminal of 24-bit colour, by half blocks."""
    rows = np.arange(TERMINAL_COLUMNS) * len(image) // TERMINAL_COLUMNS
    small = image[rows][:, rows]
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        cells = [
            "\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*above, *below)
            for above, below in zip(upper, lower, strict=True)
        ]
        yield "".join(cells) + "\x1b[0m"

"""Events of threads, made by hand, and what a picture of them shows."""

from dataclasses import dataclass

from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle


@dataclass(frozen=True)
class Seen:
    thread: tuple[int, ...]
    kind: str
    array: str = ""
    index: tuple[int, ...] = ()
    line: int = 1
    interval: int = 0
    block: tuple[int, ...] = (0, 0, 0)


def reads(indices_of_threads, array="x"):
    """One thread after another, each with its reads, at one line."""
    return [
        Seen((t, 0, 0), "read", array, index)
        for t, indices in enumerate(indices_of_threads)
        for index in indices
    ]


def drawn(axes):
    """Colour and lower left corner of each rectangle, with the words that stand in it."""
    shown = {}
    for patch in axes.patches:
        assert isinstance(patch, Rectangle)
        x, y = patch.get_xy()
        width, height = patch.get_width(), patch.get_height()
        words = [
            text.get_text()
            for text in axes.texts
            if x <= text.get_position()[0] < x + width and y <= text.get_position()[1] < y + height
        ]
        shown[round(x, 2), round(y, 2)] = to_hex(patch.get_facecolor()), words
    return shown


def rows(threads=4, columns=8):
    return reads([[(t, n) for n in range(columns)] for t in range(threads)])


def columns(threads=8, rows=4):
    return reads([[(n, t) for n in range(rows)] for t in range(threads)])

"""How every picture of minivlm looks, and how it becomes a file."""

import io
import re
import textwrap
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from minivlm.files import write_bytes

DPI = 110
FONT = 10.0  # points
BLUE, ORANGE, GREEN, RED, GRAY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
"""Okabe and Ito's colours, which people with any colour vision can tell apart."""
SEQUENTIAL = "cividis"


class Picture(Figure):
    """A figure that Jupyter shows by itself, whether or not pyplot was imported.

    Attributes:
        palette: write it with the 256 colours that suit it best, a third of the bytes where it is
            made of many noisy pictures.
    """

    palette: bool = False

    def _repr_png_(self) -> bytes:
        return png(self)


def new_figure(width: float, height: float) -> Picture:
    """An empty figure, in inches, that lays itself out so that nothing overlaps."""
    return Picture((width, height), dpi=DPI, layout="constrained")


def wrapped(text: str, columns: int, lines: int) -> str:
    """Text broken into lines of some columns; what does not fit into the lines ends in "…"."""
    drawable = text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair is not
    parts = textwrap.wrap(drawable, columns) or [""]
    if len(parts) > lines:
        parts = [*parts[: lines - 1], parts[lines - 1][: columns - 1].rstrip() + "…"]
    return "\n".join(parts)


def by_hand(number: float, places: int) -> str:
    """A number as one writes it by hand: .25, −1.50, 12.3."""
    text = f"{round(number, places) + 0.0:.{places}f}"  # adding 0 turns −0 into 0
    return re.sub(r"^(-?)0\.", r"\1.", text).replace("-", "−")


def png(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    if isinstance(figure, Picture) and figure.palette:
        with Image.open(buffer) as full:
            few = full.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2)
        buffer = io.BytesIO()
        few.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    write_bytes(path, png(figure))

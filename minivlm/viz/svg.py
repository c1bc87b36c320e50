"""A drawing of boxes, lines and words, as SVG: it needs no other program, and Jupyter shows it."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from minivlm.files import write_bytes

INK, PAPER = "#1A1A1A", "#FFFFFF"
FONT = "DejaVu Sans, Verdana, sans-serif"


class Drawing:
    """Collects the elements of one SVG; lengths are in pixels, from the upper left corner.

    Args:
        width: of the picture.
        height: of the picture.
        title: what a screen reader says of it; not drawn.
    """

    def __init__(self, width: float, height: float, title: str):
        self.width, self.height, self.title = width, height, title
        self.parts = [f'<rect width="{width:g}" height="{height:g}" fill="{PAPER}"/>']

    def box(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        fill: str = "none",
        dashed: bool = False,
        round: float = 0,
        opacity: float = 1,
    ) -> None:
        """A rectangle with an outline."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        soft = f' rx="{round:g}"' if round else ""
        thin = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{fill}" '
            f'stroke="{INK}"{dash}{soft}{thin}/>'
        )

    def grid(self, x: float, y: float, w: float, h: float, columns: int, rows: int) -> None:
        """Thin lines that cut a rectangle into cells."""
        for i in range(1, columns):
            self.line(x + w * i / columns, y, x + w * i / columns, y + h, thickness=0.4)
        for j in range(1, rows):
            self.line(x, y + h * j / rows, x + w, y + h * j / rows, thickness=0.4)

    def line(
        self, x1: float, y1: float, x2: float, y2: float, thickness: float = 1.2, ink: str = INK
    ) -> None:
        """A straight line."""
        self.parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{ink}" '
            f'stroke-width="{thickness:g}"/>'
        )

    def curve(
        self, points: Sequence[tuple[float, float]], thickness: float = 1.2, ink: str = INK
    ) -> None:
        """Straight lines from point to point."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="{thickness:g}"/>'
        )

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """A line that ends in a head."""
        self.parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{INK}" '
            f'stroke-width="1.5" marker-end="url(#head)"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 12,
        anchor: str = "middle",
        bold: bool = False,
        ink: str = INK,
        upward: bool = False,
    ) -> None:
        """Words whose baseline is at y; anchor "start", "middle" or "end" is what lies at x.

        Where they run upward, the baseline is at x, and the anchor is what lies at y.
        """
        weight = ' font-weight="bold"' if bold else ""
        turn = f' transform="rotate(-90 {x:g} {y:g})"' if upward else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}"{weight}{turn} '
            f'fill="{ink}">{escape(words, quote=False)}</text>'
        )

    def image(self, x: float, y: float, w: float, h: float, pixels: np.ndarray) -> None:
        """A picture, uint8 (rows, columns, 3), stretched to a rectangle; its pixels stay sharp."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "png", optimize=True)
        self.parts.append(
            f'<image x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" preserveAspectRatio="none" '
            f'style="image-rendering: pixelated" '
            f'href="data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"/>'
        )

    def notes(self, x: float, y: float, *lines: str) -> None:
        """Lines of words, one below the other, from the left."""
        for i, words in enumerate(lines):
            self.text(x, y + 17 * i, words, anchor="start")

    def svg(self) -> str:
        """The file's text."""
        return "\n".join(
            [
                '<svg xmlns="http://www.w3.org/2000/svg" '
                f'viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}" '
                f'height="{self.height:g}" role="img" font-family="{FONT}">',
                f"<title>{escape(self.title, quote=False)}</title>",
                '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
                'markerHeight="7" orient="auto">'
                f'<path d="M0 0L10 5L0 10z" fill="{INK}"/></marker></defs>',
                *self.parts,
                "</svg>\n",
            ]
        )

    _repr_svg_ = svg  # how Jupyter shows it

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        write_bytes(path, self.svg().encode())

"""A canvas for one drawing, and what its colours mean.

Orange is what one block owns, blue what streams past it, green what it keeps in registers or in
shared memory, grey what lies in the GPU's memory; a dashed box is never stored.
"""

from __future__ import annotations

OWNED, STREAMED, KEPT, STORED = "#E69F00", "#56B4E9", "#009E73", "#D9D9D9"
INK, PAPER = "#1A1A1A", "#FFFFFF"
WIDTH, HEIGHT = 680, 300


class Canvas:
    """Collects the elements of one SVG."""

    def __init__(self, title: str):
        self.title = title
        self.parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>']
        self.text(WIDTH / 2, 22, title, size=15, weight="bold")

    def box(
        self, x: float, y: float, w: float, h: float, fill: str = "none", dashed: bool = False
    ) -> None:
        """A rectangle with an outline."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{fill}" '
            f'stroke="{INK}"{dash}/>'
        )

    def grid(self, x: float, y: float, w: float, h: float, columns: int, rows: int) -> None:
        """Thin lines that cut a rectangle into cells."""
        for i in range(1, columns):
            self.line(x + w * i / columns, y, x + w * i / columns, y + h, thin=True)
        for j in range(1, rows):
            self.line(x, y + h * j / rows, x + w, y + h * j / rows, thin=True)

    def line(self, x1: float, y1: float, x2: float, y2: float, thin: bool = False) -> None:
        """A line; a thin one is the border of a cell."""
        width = 0.4 if thin else 1.2
        self.parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{INK}" '
            f'stroke-width="{width}"/>'
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
        size: int = 12,
        anchor: str = "middle",
        weight: str = "normal",
    ) -> None:
        """Words whose baseline is at y."""
        words = words.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}" fill="{INK}">{words}</text>'
        )

    def notes(self, x: float, y: float, *lines: str) -> None:
        """Lines of words, one below the other, from the left."""
        for i, words in enumerate(lines):
            self.text(x, y + 17 * i, words, anchor="start")

    def svg(self) -> str:
        """The file's text."""
        head = (
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            'markerHeight="7" orient="auto">'
            f'<path d="M0 0L10 5L0 10z" fill="{INK}"/></marker></defs>'
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                f'width="{WIDTH}" height="{HEIGHT}" role="img" '
                'font-family="DejaVu Sans, Verdana, sans-serif">',
                f"<title>{self.title}</title>",
                head,
                *self.parts,
                "</svg>\n",
            ]
        )

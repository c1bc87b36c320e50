"""The frame of every drawing of a rung, and what the colours mean.

Orange is what one block owns, blue what streams past it, green what it keeps in registers or in
shared memory, grey what lies in the GPU's memory; a dashed box is never stored.
"""

from __future__ import annotations

from minivlm.viz.svg import Drawing

OWNED, STREAMED, KEPT, STORED = "#E69F00", "#56B4E9", "#009E73", "#D9D9D9"
WIDTH, HEIGHT = 680, 300


def canvas(title: str) -> Drawing:
    """An empty drawing with its title on top."""
    drawing = Drawing(WIDTH, HEIGHT, title)
    drawing.text(WIDTH / 2, 22, title, size=15, bold=True)
    return drawing

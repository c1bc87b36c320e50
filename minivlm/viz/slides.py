"""Pictures one after the other: a slider where notebooks are alive, a strip where they are read.

    slideshow(graph.steps())

Jupyter gets both from one value. With ipywidgets it shows a slider and a button that plays; a page
that runs nothing, or a kernel without ipywidgets, shows some of the pictures one below the other.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from minivlm.viz.svg import Drawing

PAGE = 900.0  # pixels, as wide as a strip may get before pictures go one below the other
CAPTION, GAP = 30.0, 14.0
INTERVAL = 1800  # milliseconds that each picture stays while the show plays


class Slideshow:
    """Drawings in order, each with its title as its caption; made by `slideshow`."""

    def __init__(self, pictures: Sequence[Drawing], most: int):
        self.pictures, self.most = list(pictures), most

    def captions(self) -> list[str]:
        """What is written above each picture."""
        of = len(self.pictures)
        return [f"{i} of {of}.  {picture.title}" for i, picture in enumerate(self.pictures, 1)]

    def strip(self) -> Drawing:
        """The pictures on one sheet; where they are more than `most`, some at even distances."""
        count = len(self.pictures)
        chosen = np.linspace(0, count - 1, min(count, self.most)).round().astype(int)
        width = max(picture.width for picture in self.pictures)
        height = max(picture.height for picture in self.pictures) + CAPTION
        columns = max(1, int((PAGE + GAP) // (width + GAP)))
        rows = -(-len(chosen) // columns)
        columns = min(columns, len(chosen))
        sheet = Drawing(
            columns * (width + GAP) - GAP,
            rows * (height + GAP) - GAP,
            f"{len(chosen)} of {count} pictures",
        )
        for place, number in enumerate(chosen):
            row, column = divmod(place, columns)
            x, y = column * (width + GAP), row * (height + GAP)
            sheet.text(x + 16, y + 20, self.captions()[number], 13, anchor="start", bold=True)
            inside = "\n".join(self.pictures[number].parts)
            sheet.parts.append(f'<svg x="{x:g}" y="{y + CAPTION:g}">{inside}</svg>')
        return sheet

    def widget(self) -> Any | None:
        """A slider, a button that plays, and the picture; None where ipywidgets is missing or old.

        All is linked in the page, not in Python, so it moves without a kernel, too.
        """
        if importlib.util.find_spec("ipywidgets") is None:
            return None
        import ipywidgets

        if not hasattr(ipywidgets, "Stack"):  # came with 8, which Colab lacks: colabtools#4525
            return None
        last = len(self.pictures) - 1
        shows = [
            ipywidgets.VBox([ipywidgets.Label(words), ipywidgets.HTML(picture.svg())])
            for words, picture in zip(self.captions(), self.pictures, strict=True)
        ]
        play = ipywidgets.Play(min=0, max=last, interval=INTERVAL)
        slider = ipywidgets.IntSlider(min=0, max=last, readout=False)
        stack = ipywidgets.Stack(shows, selected_index=0)
        ipywidgets.jslink((play, "value"), (slider, "value"))
        ipywidgets.jslink((slider, "value"), (stack, "selected_index"))
        return ipywidgets.VBox([ipywidgets.HBox([play, slider]), stack])

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """For Jupyter: pages that cannot show the first, show the second."""
        del options
        widget = self.widget()
        alive = {} if widget is None else widget._repr_mimebundle_()
        words = {"text/plain": f"{len(self.pictures)} pictures"}
        return alive | {"image/svg+xml": self.strip().svg()} | words


def slideshow(pictures: Sequence[Drawing], most: int = 6) -> Slideshow:
    """Show drawings one after the other.

    Args:
        pictures: in order; the title of each is its caption.
        most: how many to show where there is no slider.

    Raises:
        ValueError: there is none.
    """
    if not pictures or most < 1:
        raise ValueError("a show needs at least one picture")
    return Slideshow(pictures, most)

"""What the temperature does: the same cosines, read as a soft or as a hard choice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from minivlm.ops.normalize import softmax_arrays
from minivlm.viz.style import BLUE, FONT, GRAY, ORANGE, new_figure


def temperature_bars(
    cosines: np.ndarray, names: Sequence[str], temperatures: Sequence[float], right: int
) -> Figure:
    """Cosines as bars, and beside them their softmax at each temperature.

    Args:
        cosines: of one picture with each text (K,).
        names: the texts.
        temperatures: what cosines are divided by; a panel for each.
        right: which text belongs to the picture; its bars are orange.

    Raises:
        ValueError: the names do not fit the cosines, or a temperature is not above 0.
    """
    if cosines.shape != (len(names),):
        raise ValueError(f"cosines {cosines.shape} do not fit {len(names)} names")
    if any(T <= 0 for T in temperatures):
        raise ValueError("a temperature is not above 0")
    count = len(temperatures) + 1
    figure = new_figure(2.1 * count + 1.2, 0.27 * len(names) + 1.1)
    panels = np.atleast_1d(figure.subplots(1, count, sharey=True))
    places = np.arange(len(names))
    colors = [ORANGE if i == right else BLUE for i in places]
    panels[0].barh(places, cosines, color=colors)
    panels[0].axvline(0, color=GRAY, linewidth=0.8)
    panels[0].set(xlabel="cosine", title="what the towers say")
    panels[0].set_yticks(places, names, fontsize=FONT - 1)
    panels[0].invert_yaxis()  # the first on top
    for axes, T in zip(panels[1:], temperatures, strict=True):
        shares, _ = softmax_arrays(cosines / T, -1)
        axes.barh(places, shares, color=colors)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])  # few, or panels' ends would touch
        axes.set(xlabel="probability", title=f"divided by {T:.3g}")
    for axes in panels:
        axes.title.set_fontsize(FONT)
        axes.spines[["top", "right"]].set_visible(False)
    return figure

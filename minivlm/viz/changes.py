"""What training moved: how much each part of a model changed in each stage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from minivlm.tensor import Array
from minivlm.viz.style import BLUE, FONT, GRAY, new_figure


def relative_changes(
    before: Mapping[str, Array], after: Mapping[str, Array], prefixes: Mapping[str, str]
) -> dict[str, float]:
    """The length of each part's change, as a share of the part's length before.

    Args:
        before: arrays by name, as in a state dict.
        after: the same names, later.
        prefixes: the beginning of the names of each part.

    Returns:
        For each part of `prefixes` ‖after − before‖ / ‖before‖; 0 where nothing moved, infinite
        where it began at 0.

    Raises:
        ValueError: no array's name begins with a prefix.
    """
    shares = {}
    for part, prefix in prefixes.items():
        names = [name for name in before if name.startswith(prefix)]
        if not names:
            raise ValueError(f"no array's name begins with {prefix!r}")
        moved = np.sqrt(sum(float(((after[n] - before[n]) ** 2).sum()) for n in names))
        length = np.sqrt(sum(float((before[n] ** 2).sum()) for n in names))
        shares[part] = float(moved / length) if length else float("inf") if moved else 0.0
    return shares


def change_bars(stages: Mapping[str, Mapping[str, float]]) -> Figure:
    """A panel for each stage, a bar for each part; what did not move at all says "frozen".

    Args:
        stages: the change of each part by stage, as shares; the same parts in all.

    Raises:
        ValueError: there is no stage, or their parts differ.
    """
    parts = list(next(iter(stages.values()), {}))
    if not parts or any(list(changes) != parts for changes in stages.values()):
        raise ValueError("changes are of one stage or more, with the same parts in each")
    figure = new_figure(2.5 * len(stages) + 1.0, 0.34 * len(parts) + 1.1)
    panels = figure.subplots(1, len(stages), sharey=True, squeeze=False)[0]
    places = np.arange(len(parts))
    longest = max(max(changes.values()) for changes in stages.values()) or 1.0
    for axes, (stage, changes) in zip(panels, stages.items(), strict=True):
        axes.barh(places, list(changes.values()), color=BLUE)
        for place, share in zip(places, changes.values(), strict=True):
            words, ink = (f" {share:.1%}", "black") if share else (" frozen", GRAY)
            axes.text(share, place, words, va="center", fontsize=FONT - 1, color=ink)
        axes.set_xlim(0, 1.35 * longest)
        axes.set_xticks([])
        axes.set_title(stage, fontsize=FONT)
        axes.set_xlabel("‖change‖ / ‖before‖", fontsize=FONT - 1)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(places, parts, fontsize=FONT - 1)
    panels[0].invert_yaxis()
    return figure

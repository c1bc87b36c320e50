"""A conversation as the model gets it: token by token, whose each is, and which are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from minivlm.viz.style import BLUE, GRAY, GREEN, ORANGE
from minivlm.viz.svg import Drawing

COLORS = {"image": BLUE, "prompt": GRAY, "answer": ORANGE}
WIDTH, LINE, LETTER, PAD, MARGIN = 900.0, 44.0, 7.0, 8.0, 16.0
BOX = 24.0


def token_strip(
    tokens: Sequence[str], kinds: Sequence[str], learnt: Sequence[bool] | None = None
) -> Drawing:
    """Tokens in boxes, wrapped like text; a run of image tokens becomes one wide box.

    Args:
        tokens: what each stands for.
        kinds: of each, "image", "prompt" or "answer": its colour.
        learnt: True where the next-token loss counts; these are underlined. None leaves it out.

    Raises:
        ValueError: the lengths differ, or a kind is unknown.
    """
    if len(tokens) != len(kinds) or (learnt is not None and len(learnt) != len(tokens)):
        raise ValueError(f"{len(tokens)} tokens need a kind each, and learnt or not each")
    if unknown := set(kinds) - set(COLORS):
        raise ValueError(f"a token is one of {', '.join(COLORS)}, not {', '.join(sorted(unknown))}")
    pieces = _pieces(tokens, kinds, learnt or [False] * len(tokens))
    spots, height = _laid_out([words for words, *_ in pieces])
    drawing = Drawing(WIDTH, height + LINE, "a conversation, token by token")
    for (words, kind, counts), (x, y, wide) in zip(pieces, spots, strict=True):
        drawing.box(x, y, wide, BOX, COLORS[kind], round=4, opacity=0.3)
        drawing.text(x + wide / 2, y + 16, words)
        if counts:
            drawing.line(x + 2, y + BOX + 4, x + wide - 2, y + BOX + 4, thickness=4, ink=GREEN)
    _legend(drawing, height + 10, set(kinds), learnt is not None)
    return drawing


def _pieces(
    tokens: Sequence[str], kinds: Sequence[str], learnt: Sequence[bool]
) -> list[tuple[str, str, bool]]:
    """Each token's words, kind and whether it is learnt; image tokens of a run together."""
    pieces = []
    for kind, run in groupby(zip(tokens, kinds, learnt, strict=True), key=lambda item: item[1]):
        run = list(run)
        if kind == "image" and len(run) > 1:
            pieces.append((f"{len(run)} image tokens", kind, any(counts for *_, counts in run)))
        else:
            pieces += [(words.replace(" ", "·") or "∅", kind, counts) for words, _, counts in run]
    return pieces


def _laid_out(words: Sequence[str]) -> tuple[list[tuple[float, float, float]], float]:
    """The corner and width of each box, and where the last line ends."""
    x, y, spots = MARGIN, MARGIN, []
    for text in words:
        wide = max(BOX, LETTER * len(text) + 2 * PAD)
        if x + wide > WIDTH - MARGIN and x > MARGIN:
            x, y = MARGIN, y + LINE
        spots.append((x, y, wide))
        x += wide + 4
    return spots, y + LINE


def _legend(drawing: Drawing, y: float, kinds: set[str], learnt: bool) -> None:
    x = MARGIN
    for kind, color in COLORS.items():
        if kind in kinds:
            drawing.box(x, y, 14, 14, color, round=3, opacity=0.3)
            drawing.text(x + 20, y + 12, kind, anchor="start")
            x += 90
    if learnt:
        drawing.line(x, y + 8, x + 18, y + 8, thickness=4, ink=GREEN)
        drawing.text(x + 24, y + 12, "learnt", anchor="start")

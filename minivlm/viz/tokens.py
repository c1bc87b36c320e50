"""A conversation as the model gets it: token by token, whose each is, and which are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from minivlm.viz.style import BLUE, GRAY, GREEN, ORANGE
from minivlm.viz.svg import INK, Drawing

COLORS = {"image": BLUE, "prompt": GRAY, "answer": ORANGE}
WIDTH, LINE, LETTER, PAD, MARGIN = 900.0, 44.0, 7.0, 8.0, 16.0
BOX, LABEL = 24.0, 18.0  # heights: of a token's box, and of the line with its label
NO_LABEL = "−100"  # as the loss has it


def token_strip(
    tokens: Sequence[str],
    kinds: Sequence[str],
    learnt: Sequence[bool] | None = None,
    labels: Sequence[str | None] | None = None,
) -> Drawing:
    """Tokens in boxes, wrapped like text; a run of image tokens becomes one wide box.

    Args:
        tokens: what each stands for.
        kinds: of each, "image", "prompt" or "answer": its colour.
        learnt: True where the next-token loss counts; these are underlined. None leaves it out.
        labels: what the loss wants to be said after each token, written beneath it; None in it is
            −100, nothing is wanted. None leaves them all out.

    Raises:
        ValueError: the lengths differ, or a kind is unknown.
    """
    given = [each for each in (kinds, learnt, labels) if each is not None]
    if any(len(each) != len(tokens) for each in given):
        raise ValueError(f"{len(tokens)} tokens need a kind each, and learnt or not each, a label")
    if unknown := set(kinds) - set(COLORS):
        raise ValueError(f"a token is one of {', '.join(COLORS)}, not {', '.join(sorted(unknown))}")
    pieces = _pieces(tokens, kinds, learnt or [False] * len(tokens), labels or [None] * len(tokens))
    line = LINE if labels is None else LINE + LABEL
    long = [max(len(piece.words), len(piece.label) if labels else 0) for piece in pieces]
    spots, height = _laid_out(long, line)
    drawing = Drawing(WIDTH, height + LINE, "a conversation, token by token")
    for piece, (x, y, wide) in zip(pieces, spots, strict=True):
        drawing.box(x, y, wide, BOX, COLORS[piece.kind], round=4, opacity=0.3)
        drawing.text(x + wide / 2, y + 16, piece.words)
        if piece.counts:
            drawing.line(x + 2, y + BOX + 4, x + wide - 2, y + BOX + 4, thickness=4, ink=GREEN)
        if labels is not None:
            wanted = NO_LABEL not in piece.label
            ink = INK if wanted else GRAY
            under = y + BOX + LABEL
            drawing.text(x + wide / 2, under, piece.label, size=11, bold=wanted, ink=ink)
    _legend(drawing, height + 10, set(kinds), learnt is not None, labels is not None)
    return drawing


class _Piece(NamedTuple):
    """One box: a token, or the image tokens of a run."""

    words: str
    kind: str
    counts: bool
    label: str


def _pieces(
    tokens: Sequence[str],
    kinds: Sequence[str],
    learnt: Sequence[bool],
    labels: Sequence[str | None],
) -> list[_Piece]:
    """Each token with its kind, whether it is learnt, and its label; those of a picture together.

    Where one token of a picture has a label, each has its box.
    """
    pieces = []
    for kind, run in groupby(
        zip(tokens, kinds, learnt, labels, strict=True), key=lambda item: item[1]
    ):
        run = list(run)
        if kind == "image" and len(run) > 1 and all(label is None for *_, label in run):
            counts = any(counts for _, _, counts, _ in run)
            pieces.append(_Piece(f"{len(run)} image tokens", kind, counts, f"each {NO_LABEL}"))
            continue
        for words, _, counts, label in run:
            wanted = NO_LABEL if label is None else shown(label)
            pieces.append(_Piece(shown(words), kind, counts, wanted))
    return pieces


def shown(words: str) -> str:
    """A token as one can see it: spaces are dots."""
    return words.replace(" ", "·") or "∅"


def _laid_out(
    lengths: Sequence[int], line: float
) -> tuple[list[tuple[float, float, float]], float]:
    """The corner and width of each box, and where the last line ends."""
    x, y, spots = MARGIN, MARGIN, []
    for length in lengths:
        wide = max(BOX, LETTER * length + 2 * PAD)
        if x + wide > WIDTH - MARGIN and x > MARGIN:
            x, y = MARGIN, y + line
        spots.append((x, y, wide))
        x += wide + 4
    return spots, y + line


def _legend(drawing: Drawing, y: float, kinds: set[str], learnt: bool, labels: bool) -> None:
    x = MARGIN
    for kind, color in COLORS.items():
        if kind in kinds:
            drawing.box(x, y, 14, 14, color, round=3, opacity=0.3)
            drawing.text(x + 20, y + 12, kind, anchor="start")
            x += 90
    if learnt:
        drawing.line(x, y + 8, x + 18, y + 8, thickness=4, ink=GREEN)
        drawing.text(x + 24, y + 12, "learnt", anchor="start")
        x += 90
    if labels:
        words = f"beneath: the label, which is to be said next; {NO_LABEL}: nothing is asked"
        drawing.text(x, y + 12, words, anchor="start")

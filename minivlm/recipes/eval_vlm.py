"""`minivlm eval vlm`: measure, print tables, and leave scores and examples in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from minivlm.errors import InputError
from minivlm.files import write_json
from minivlm.recipes.lessons import FileLessons
from minivlm.recipes.measure_vlm import (
    Asked,
    ConversationScores,
    Measured,
    accuracies,
    measure_conversations,
    measure_vlm,
)
from minivlm.recipes.pretrained import is_shipped
from minivlm.recipes.trained_vlm import TrainedVLM
from minivlm.recipes.vlm_settings import MOST_SCENE

EXAMPLES = 12  # answers of either sort that are kept

Tell = Callable[[str], None]


def eval_vlm(folder: Path, things: int | None, tell: Tell) -> None:
    """Measure the model in a run folder.

    Args:
        folder: of the run; one that comes with minivlm is not written to.
        things: most things in a scene; None means as many as in training.
        tell: gets lines of text.

    Raises:
        InputError: the folder holds no finished run, or things are out of range.
    """
    vlm = TrainedVLM.load(folder)
    if vlm.settings.data == "scenes":
        things = vlm.settings.things if things is None else things
        if not 1 <= things <= MOST_SCENE:
            raise InputError(f"things {things} is not in 1..{MOST_SCENE}")
        measured = measure_vlm(vlm, things)
        scores, lines = measured.to_json(), tables(measured)
    else:
        said = measure_conversations(vlm, FileLessons(vlm.settings, vlm.model.config.vision.image))
        scores, lines = asdict(said), conversation_lines(said)
    for line in lines:
        tell(line)
    if not is_shipped(folder):
        write_json(folder / "scores.json", scores)
        tell(f"\nAlso in {folder / 'scores.json'}")


def tables(measured: Measured) -> Iterator[str]:
    """The figures, in lines of text."""
    seen, unseen = accuracies(measured.asked), accuracies(measured.unseen)
    blind = accuracies(measured.asked, blind=True)
    numbers = [column for column in seen["mean"] if column != "all"]
    columns = ["all", *(f"{n} thing{'s' * (n != '1')}" for n in numbers)]
    yield f"\nquestions, right{'':6}" + _row(*columns, "unseen pairs", "no picture")
    for kind in seen:
        cells = [seen[kind].get(column) for column in ("all", *numbers)]
        yield f"  {kind:20}" + _row(*cells, unseen[kind]["all"], blind[kind]["all"])
    yield f"\ncaptions{'':14}" + _row("exact", "CHAIR-i", "recall", "position", "background")
    for name, c in (("with picture", measured.captions), ("no picture", measured.blind_captions)):
        yield f"  {name:20}" + _row(c.exact, c.chair, c.recall, c.position, c.background)
    yield f"\nPOPE{'':18}" + _row("accuracy", "precision", "recall", "F1", "yes rate")
    for h in measured.hallucination:
        yield f"  {h.setting:20}" + _row(h.accuracy, h.precision, h.recall, h.f1, h.yes_rate)
    yield f"\nperplexity of right answers: {measured.perplexity:.3f} (1 is certainty)"
    yield (
        f"{len(measured.asked)} questions, {measured.captions.count} captions, "
        f"{measured.hallucination[0].count} POPE questions a setting; scenes of seed "
        f"{measured.seed}, on which nothing was chosen"
    )


def _row(*cells: str | float | None) -> str:
    shown = ("" if c is None else c if isinstance(c, str) else f"{c:.3f}" for c in cells)
    return "".join(f"{cell:>13}" for cell in shown)


def conversation_lines(scores: ConversationScores) -> Iterator[str]:
    """The figures of a user's own conversations, in lines of text."""
    yield f"\nperplexity of held-out answers: {scores.perplexity:.3f} (1 is certainty)"
    yield f"first answers that are word for word right: {scores.exact:.3f} of {scores.count}"
    for reference, answer in scores.pairs[:5]:
        yield f"  expected: {reference!r}"
        yield f"  answered: {answer!r}"


def examples(asked: list[Asked]) -> list[Asked]:
    """Some answers that are wrong and some that are right, about different pictures.

    Each kind of question comes once before any comes again.
    """
    mixed = [asked[i] for i in np.random.default_rng(0).permutation(len(asked))]
    chosen: list[Asked] = []
    for right in (False, True):
        some: dict[int, Asked] = {}  # by picture
        for once in (True, False):
            for a in mixed:
                again = a.kind in {other.kind for other in some.values()}
                fits = a.right is right and a.picture not in some and not (once and again)
                if fits and len(some) < EXAMPLES:
                    some[a.picture] = a
        chosen += some.values()
    return chosen

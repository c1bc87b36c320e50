"""Every mistake in a data set, found before training does: the work of `minivlm check-data`."""

from dataclasses import dataclass
from pathlib import Path

from minivlm.data.captions import Pair, read_pairs
from minivlm.data.shards import Member
from minivlm.errors import InputError


@dataclass(frozen=True)
class Findings:
    """What a data set holds.

    Attributes:
        captions: how many belong to a picture that can be read.
        images: how many can be read and have a caption.
        problems: a sentence for each bad row and each bad picture, in the data's order.
    """

    captions: int
    images: int
    problems: list[str]

    def summary(self) -> str:
        """The counts, in words."""
        return f"{self.captions} captions of {self.images} pictures, {len(self.problems)} problems"


def check(
    path: Path,
    image_column: str | None = None,
    caption_column: str | None = None,
    images: Path | None = None,
) -> Findings:
    """Read every row and decode every picture, however many are bad; see `read_pairs`."""
    captions = 0
    problems: list[str] = []
    readable: dict[Path | Member, bool] = {}
    for found in read_pairs(path, image_column, caption_column, images):
        if isinstance(found, InputError):
            problems.append(str(found))
            continue
        if found.image not in readable:
            problem = _problem(found)
            readable[found.image] = problem is None
            problems += [problem] if problem else []
        captions += readable[found.image]
    return Findings(captions, sum(readable.values()), problems)


def _problem(pair: Pair) -> str | None:
    """Why a picture cannot be used; None if it can."""
    try:
        pair.open()
    except InputError as error:
        return str(error)
    return None

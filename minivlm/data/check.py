"""`minivlm check-data`: everything that is wrong with a data set, before hours go into it."""

from dataclasses import dataclass, field
from pathlib import Path

from minivlm.data.captions import Pair, read_image, read_pairs
from minivlm.data.shards import Member
from minivlm.errors import InputError


@dataclass
class Findings:
    """What a data set holds.

    Attributes:
        captions: rows that are good, with a picture that is.
        images: different pictures that can be read.
        problems: a sentence for each bad row and each bad picture, in the order of the rows.
    """

    captions: int = 0
    images: int = 0
    problems: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """All in one line."""
        return f"{self.captions} captions of {self.images} pictures, {len(self.problems)} problems"


def check(
    path: Path,
    image_column: str | None = None,
    caption_column: str | None = None,
    images: Path | None = None,
) -> Findings:
    """Read every row and decode every picture; see `read_pairs` for the arguments."""
    found = Findings()
    readable: dict[Path | Member, bool] = {}
    for item in read_pairs(path, image_column, caption_column, images):
        if isinstance(item, InputError):
            found.problems.append(str(item))
            continue
        if item.image not in readable:
            readable[item.image] = _is_readable(item, found)
        found.captions += readable[item.image]
    found.images = sum(readable.values())
    if not readable and not found.problems:
        found.problems.append(f"{path}: no captioned pictures")
    return found


def _is_readable(pair: Pair, found: Findings) -> bool:
    try:
        read_image(pair)
    except InputError as error:
        found.problems.append(str(error))
        return False
    return True

"""WebDataset shards: tar archives in which files of one name belong together.

Nothing is ever extracted. A member's bytes are read from where they lie in the archive, and every
member that is not a plain file of a harmless name is refused.

Source: webdataset/webdataset, README, "The WebDataset Format".
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from minivlm.data.image import SUFFIXES
from minivlm.errors import InputError

MOST_MEMBER_BYTES = 256_000_000
MOST_TEXT_BYTES = 1_000_000


class Member(NamedTuple):
    """Where a picture lies in an archive."""

    shard: Path
    name: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Its bytes."""
        with open(self.shard, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def __str__(self) -> str:
        return f"{self.shard}, member {self.name}"


class Sample(NamedTuple):
    """A picture and its caption."""

    image: Member
    caption: str


def read_shard(shard: Path) -> Iterator[Sample | InputError]:
    """The samples of an archive, and an error in the place of each that is bad.

    A name up to its first dot is a sample's key; `.txt`, or "caption" in `.json`, is its caption.
    After an error in the archive itself nothing follows.
    """
    groups: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for info in archive:
                if info.isdir():
                    continue
                try:
                    member, key, suffix = _checked(shard, info)
                    group = groups.setdefault(key, {})
                    if suffix in group:
                        raise InputError(f"{member}: a second {suffix} of {key}")
                    group[suffix] = member
                except InputError as error:
                    yield error
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        yield InputError(f"{shard}: not a readable tar archive ({error})")
        return
    for key, group in groups.items():
        try:
            yield _sample(shard, key, group)
        except InputError as error:
            yield error


def _checked(shard: Path, info: tarfile.TarInfo) -> tuple[Member, str, str]:
    member = Member(shard, info.name, info.offset_data, info.size)
    path = PurePosixPath(info.name)
    if path.is_absolute() or ".." in path.parts or "\\" in info.name:
        raise InputError(f"{member}: a path that leaves the archive")
    if not info.isreg():
        raise InputError(f"{member}: not a plain file")
    if info.size > MOST_MEMBER_BYTES:
        raise InputError(f"{member}: {info.size} bytes are too many")
    if info.offset_data + info.size > shard.stat().st_size:
        raise InputError(f"{member}: cut short")
    stem, dot, suffix = path.name.partition(".")
    return member, str(path.with_name(stem or path.name)), (dot + suffix).lower()


def _sample(shard: Path, key: str, group: dict[str, Member]) -> Sample:
    images = [member for suffix, member in group.items() if suffix in SUFFIXES]
    if len(images) != 1:
        found = "no picture" if not images else f"{len(images)} pictures"
        raise InputError(f"{shard}, sample {key}: {found}")
    source = group.get(".txt") or group.get(".json")
    if source is None:
        raise InputError(f"{shard}, sample {key}: no caption, neither .txt nor .json")
    if source.size > MOST_TEXT_BYTES:
        raise InputError(f"{source}: {source.size} bytes are too many for a caption")
    try:
        text = source.read().decode("utf-8")
        if source.name.lower().endswith(".json"):
            text = json.loads(text)["caption"]
    except UnicodeDecodeError:
        raise InputError(f"{source}: not UTF-8 text") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f'{source}: no JSON object with a "caption"') from None
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{source}: the caption is empty")
    return Sample(images[0], text.strip())

"""WebDataset shards: tar archives in which files of one name make one sample.

    0001.jpg 0001.txt 0002.jpg 0002.txt …

Nothing is ever extracted: only headers are read, and each member becomes a place in the archive
whose bytes are fetched when they are needed.

Source: github.com/webdataset/webdataset.
"""

import itertools
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from minivlm.data.image import SUFFIXES
from minivlm.errors import InputError

MOST_BYTES = 2**26  # 64 MiB in one member


@dataclass(frozen=True)
class Member:
    """A file within an archive: `size` bytes from `offset` on. Like a Path, it can be read."""

    shard: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard}: {self.name}"

    def read_bytes(self) -> bytes:
        """The bytes of the file.

        Raises:
            OSError: the archive is gone, or shorter than it was.
        """
        with open(self.shard, "rb") as archive:
            archive.seek(self.offset)
            content = archive.read(self.size)
        if len(content) < self.size:
            raise OSError("the archive ends before this member does")
        return content


def read_shard(shard: Path) -> Iterator[tuple[Member, Member] | InputError]:
    """Each sample's picture and text, in the archive's order; in place of a bad one, what is wrong.

    The text is the sample's `.txt`, or its `.json` where there is none; members with other
    endings, such as `.cls`, belong to other tasks and are left alone.
    """
    headers, damage = _headers(shard)
    groups = itertools.groupby(headers, lambda header: _key_and_ending(header.name)[0])
    samples = [(key, list(members)) for key, members in groups]
    seen = set()
    for number, (key, members) in enumerate(samples, start=1):
        try:
            if key in seen:
                raise InputError(f"{shard}: {key}: this sample was there before, further up")
            seen.add(key)
            yield _sample(shard, key, members)
        except InputError as error:
            if not damage or number < len(samples):  # what the last one lacks, the damage took
                yield error
    if damage:
        yield damage


def _headers(shard: Path) -> tuple[list[tarfile.TarInfo], InputError | None]:
    """What an archive says it holds, without folders, and what is wrong with it as a whole."""
    headers: list[tarfile.TarInfo] = []
    try:
        with (
            open(shard, "rb") as file,
            tarfile.open(fileobj=file, mode="r:", errors="replace") as archive,
        ):
            for header in archive:
                if header.size < 0:  # it would lead the reader back, and round and round
                    raise tarfile.ReadError(f"{header.name} has a negative size")
                if header.isreg() and header.offset_data + header.size > shard.stat().st_size:
                    raise tarfile.ReadError(f"cut off within {header.name}")
                if not header.isdir():
                    headers.append(header)
            # tarfile takes a damaged header for the end; a whole archive ends in blocks of zeros.
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                after = f" after {headers[-1].name}" if headers else ""
                raise tarfile.ReadError(f"damaged or cut off{after}")
    except MemoryError:
        raise
    except Exception as error:  # on hostile headers also ValueError, OverflowError, RecursionError
        reason = getattr(error, "strerror", None) or error
        return headers, InputError(f"{shard}: not a whole, uncompressed tar archive: {reason}")
    return headers, None


def _key_and_ending(name: str) -> tuple[str, str]:
    """`images/0001.JPG` -> `images/0001` and `.jpg`: WebDataset cuts a name at its first dot."""
    folder, slash, base = name.rpartition("/")
    stem, dot, ending = base.partition(".")
    return folder + slash + stem, (dot + ending).lower()


def _sample(shard: Path, key: str, headers: Sequence[tarfile.TarInfo]) -> tuple[Member, Member]:
    """The one picture and the text among the members of a sample."""
    parts: dict[str, Member] = {}
    for header in headers:
        member = Member(shard, header.name, header.offset_data, header.size)
        if not header.isreg() or header.issparse():
            raise InputError(f"{member}: a link or device, not a plain file")
        if header.name.startswith("/") or ".." in PurePosixPath(header.name).parts:
            raise InputError(f"{member}: a name that leads out of the archive")
        if header.size > MOST_BYTES:
            raise InputError(f"{member}: {header.size} bytes, more than {MOST_BYTES}")
        ending = _key_and_ending(header.name)[1]
        if ending in parts:
            raise InputError(f"{member}: this name is there twice")
        parts[ending] = member
    pictures = [member for ending, member in parts.items() if ending in SUFFIXES]
    text = parts.get(".txt") or parts.get(".json")
    if len(pictures) != 1:
        count = len(pictures) or "no"
        raise InputError(f"{shard}: {key}: {count} pictures in a sample, where one is expected")
    if text is None:
        raise InputError(f"{shard}: {key}: no caption, neither .txt nor .json")
    return pictures[0], text

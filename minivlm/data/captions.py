"""Pictures and their captions, as people keep them: side by side, in a table, in archives.

    cats/1.jpg cats/1.txt         a folder; each line of a text is a caption
    captions.csv, captions.tsv    a table with the columns filepath and title, or as you name them
    000.tar 001.tar               WebDataset shards

`read_pairs` gives every pair and every mistake. Training stops at the first mistake, or leaves
the mistakes out when told so; `minivlm check-data` lists them all.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minivlm.data.image import SUFFIXES, open_image, resize_and_crop
from minivlm.data.shards import Member, read_shard
from minivlm.data.table import read_table
from minivlm.errors import InputError


@dataclass(frozen=True)
class Pair:
    """A picture and one of its captions.

    Attributes:
        image: the file, or the member of an archive; the same for all captions of a picture.
        caption: without blanks around it, never empty.
        where: the place of the caption, such as "captions.csv, line 3".
    """

    image: Path | Member
    caption: str
    where: str

    def open(self) -> np.ndarray:
        """The picture, uint8 (height, width, 3).

        Raises:
            InputError: it cannot be read.
        """
        name = f"{self.where}: {self.image.name}"
        try:
            source = self.image if isinstance(self.image, Path) else self.image.read_bytes()
        except OSError as error:
            raise InputError(f"{name}: {error.strerror or error}") from None
        return open_image(source, name)


def load_captions(
    path: Path,
    size: int,
    image_column: str | None = None,
    caption_column: str | None = None,
    images: Path | None = None,
    skip_bad: bool = False,
) -> tuple[np.ndarray, list[list[str]], list[str]]:
    """All pictures of a data set, cut to squares, in memory; the captions of each.

    Args:
        path: as in `read_pairs`, like `image_column`, `caption_column` and `images`.
        size: side of a square in pixels.
        image_column: see `read_pairs`.
        caption_column: see `read_pairs`.
        images: see `read_pairs`.
        skip_bad: leave out rows and pictures that cannot be read, rather than stop.

    Returns:
        Pictures, uint8 (N, size, size, 3); for each its captions, one or more; and a sentence on
        each row or picture that was left out.

    Raises:
        InputError: the first row or picture that is bad; or, when they are skipped, all are.
    """
    left_out: list[str] = []

    def bad(error: InputError) -> None:
        if not skip_bad:
            raise InputError(f"{error} (minivlm check-data lists all that is wrong)") from None
        left_out.append(f"left out: {error}")

    pictures: dict[Path | Member, list[Pair]] = {}
    for found in read_pairs(path, image_column, caption_column, images):
        if isinstance(found, Pair):
            pictures.setdefault(found.image, []).append(found)
        else:
            bad(found)
    squares = np.empty((len(pictures), size, size, 3), np.uint8)
    captions: list[list[str]] = []
    for pairs in pictures.values():
        try:
            squares[len(captions)] = resize_and_crop(pairs[0].open(), size)
            captions.append([pair.caption for pair in pairs])
        except InputError as error:
            bad(error)
    if not captions:
        raise InputError(f"{path}: nothing here can be used; first problem {left_out[0]}")
    return squares[: len(captions)], captions, left_out


def read_pairs(
    path: Path,
    image_column: str | None = None,
    caption_column: str | None = None,
    images: Path | None = None,
) -> Iterator[Pair | InputError]:
    """Every pair of a data set in its order and, in the place of a bad one, what is wrong with it.

    Pictures are not opened. Where there is nothing at all, that is one error.

    Args:
        path: a table, a shard, or a folder: of one table, of shards, or of pictures with texts.
        image_column: the table's column of picture paths; None finds it by its usual names.
        caption_column: likewise.
        images: the folder that a table's paths start from and stay in; None means the table's own.
    """
    empty = True
    try:
        for found in _read(path, image_column, caption_column, images):
            empty = False
            yield found
        if empty:
            yield InputError(f"{path}: no pictures with captions")
    except InputError as error:
        yield error
    except OSError as error:
        yield InputError(f"{path}: {error.strerror or error}")


def _read(
    path: Path, image_column: str | None, caption_column: str | None, images: Path | None
) -> Iterator[Pair | InputError]:
    """What `read_pairs` gives, but raises what leaves nothing to read."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    tables = [file for file in inside if file.suffix.lower() in (".csv", ".tsv")]
    shards = [file for file in inside if file.suffix.lower() == ".tar"]
    if len(tables) > 1 or (tables and shards):
        names = ", ".join(file.name for file in tables + shards)
        raise InputError(f"{path}: which of {names} is meant? Give its path")
    if not tables and (image_column or caption_column or images):
        raise InputError(f"{path}: columns and a folder of images go with a .csv or .tsv table")
    if tables:
        text, root = _text(tables[0]), images or tables[0].parent
        for row in read_table(text, str(tables[0]), root, image_column, caption_column):
            yield row if isinstance(row, InputError) else Pair(*row)
    elif shards:
        for shard in shards:
            yield from _with_captions(read_shard(shard))
    elif path.is_dir():
        yield from _with_captions(_side_by_side(path))
    else:
        raise InputError(f"{path}: neither a folder nor a .csv, .tsv or .tar file")


def _side_by_side(folder: Path) -> Iterator[tuple[Path, Path] | InputError]:
    """Each picture in or below a folder with the text of its name; hidden files are not seen."""
    same_name: dict[Path, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not hidden and file.suffix.lower() in SUFFIXES | {".txt"} and file.is_file():
            same_name.setdefault(file.with_suffix(""), []).append(file)
    for files in same_name.values():
        texts = [file for file in files if file.suffix.lower() == ".txt"]
        pictures = [file for file in files if file not in texts]
        if not texts:
            yield from (InputError(f"{file}: a picture without a .txt beside it") for file in files)
        elif not pictures:
            yield from (InputError(f"{file}: a text without a picture beside it") for file in files)
        elif len(files) > 2:
            names = ", ".join(file.name for file in files)
            yield InputError(f"{files[0].parent}: which text is for which picture: {names}?")
        else:
            yield pictures[0], texts[0]


def _with_captions(
    samples: Iterable[tuple[Path | Member, Path | Member] | InputError],
) -> Iterator[Pair | InputError]:
    """A pair for every caption in the text that belongs to a picture."""
    for sample in samples:
        if isinstance(sample, InputError):
            yield sample
            continue
        image, text = sample
        try:
            yield from [Pair(image, caption, where) for where, caption in _captions(text)]
        except InputError as error:
            yield error


def _captions(text: Path | Member) -> list[tuple[str, str]]:
    """The place and the words of each caption: lines, or the "caption" of a JSON object."""
    content = _text(text)
    if text.name.lower().endswith(".json"):
        try:
            caption = json.loads(content)["caption"].strip()
            caption.encode()  # JSON can hold half of a surrogate pair, which is no text
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise InputError(f'{text}: not a JSON object with a text named "caption"') from None
        lines = [(str(text), caption)]
    else:
        numbered = enumerate(content.splitlines(), start=1)
        lines = [(f"{text}, line {number}", line.strip()) for number, line in numbered]
    lines = [(where, caption) for where, caption in lines if caption]
    if not lines:
        raise InputError(f"{text}: the caption is empty")
    return lines


def _text(file: Path | Member) -> str:
    """A file's text, without the mark that some editors put in front of it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{file}, line {line}: not UTF-8 text") from None

"""A user's captioned pictures: a folder, a table, or archives, read row by row.

Each reader yields a Pair for a good row and an InputError, with file and line, in the place of a
bad one. Training stops at the first error; `check-data` lists them all. One code serves both.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivlm.data.image import SUFFIXES, decode_image, open_image, resize_and_crop
from minivlm.data.shards import Member, read_shard
from minivlm.errors import InputError

IMAGE_COLUMNS = ("filepath", "image", "file_name", "filename", "image_path", "path")
CAPTION_COLUMNS = ("title", "caption", "text")
TABLES = frozenset({".csv", ".tsv"})


class Pair(NamedTuple):
    """A picture, one caption of it, and where that was said.

    `image` is a file, or a member of an archive; equal ones are the same picture.
    """

    image: Path | Member
    caption: str
    where: str


def read_pairs(
    path: Path,
    image_column: str | None = None,
    caption_column: str | None = None,
    images: Path | None = None,
) -> Iterator[Pair | InputError]:
    """Every caption below a path, and an error in the place of each bad row.

    Args:
        path: a CSV or TSV file, a .tar shard, or a folder that holds one table, or shards, or
            pictures with a .txt of the same name beside each (a caption a line).
        image_column: of a table; None looks for one of IMAGE_COLUMNS.
        caption_column: likewise, CAPTION_COLUMNS.
        images: folder that a table's paths start from; None means the table's own.
    """
    if not path.exists():
        yield InputError(f"{path}: no such file or folder")
        return
    shards, tables = [path], [path]
    if path.is_dir():
        shards = sorted(path.glob("*.tar"))
        tables = sorted(p for p in path.iterdir() if p.suffix.lower() in TABLES)
    elif path.suffix.lower() == ".tar":
        tables = []
    elif path.suffix.lower() in TABLES:
        shards = []
    else:
        yield InputError(f"{path}: not a folder, a .csv, a .tsv or a .tar")
        return
    if len(tables) > 1:
        names = ", ".join(p.name for p in tables)
        yield InputError(f"{path}: holds several tables ({names}); name one of them")
    elif tables:
        yield from _read_table(tables[0], image_column, caption_column, images)
    elif shards:
        for shard in shards:
            for item in read_shard(shard):
                yield item if isinstance(item, InputError) else Pair(*item, str(item.image))
    else:
        yield from _read_folder(path)


def load_captions(
    path: Path,
    size: int,
    image_column: str | None = None,
    caption_column: str | None = None,
    images: Path | None = None,
    skip_bad: bool = False,
) -> tuple[np.ndarray, list[list[str]], list[str]]:
    """Decode every picture once, and gather its captions.

    Args:
        path: see `read_pairs`, as the columns and `images` are.
        size: side of the pictures in pixels; see `resize_and_crop`.
        image_column: see `read_pairs`.
        caption_column: see `read_pairs`.
        images: see `read_pairs`.
        skip_bad: leave bad rows and pictures out, and say so, rather than stop.

    Returns:
        Pictures uint8 (N, size, size, 3), the captions of each, and sentences on what was left out.

    Raises:
        InputError: the first bad row or picture, unless they are skipped; or nothing is left.
    """
    captions: dict[Path | Member, list[str]] = {}
    pictures: list[np.ndarray] = []
    notes: list[str] = []
    unreadable: set[Path | Member] = set()
    for item in read_pairs(path, image_column, caption_column, images):
        try:
            if isinstance(item, InputError):
                raise item
            if item.image in unreadable:
                continue
            if item.image not in captions:
                pictures.append(resize_and_crop(read_image(item), size))
            captions.setdefault(item.image, []).append(item.caption)
        except InputError as error:
            if not skip_bad:
                raise InputError(f"{error} (minivlm check-data lists all that is wrong)") from None
            if isinstance(item, Pair):
                unreadable.add(item.image)
            notes.append(f"left out: {error}")
    if not pictures:
        raise InputError(f"{path}: no captioned pictures")
    return np.stack(pictures), list(captions.values()), notes


def read_image(pair: Pair) -> np.ndarray:
    """The pixels of a pair's picture, uint8 (height, width, 3); errors say where it was named."""
    try:
        if isinstance(pair.image, Member):
            return decode_image(pair.image.read(), str(pair.image))
        return open_image(pair.image)
    except InputError as error:
        here = pair.where if isinstance(pair.image, Path) else ""
        raise InputError(f"{here}: {error}" if here else str(error)) from None


def _read_table(
    table: Path, image_column: str | None, caption_column: str | None, images: Path | None
) -> Iterator[Pair | InputError]:
    root = (images or table.parent).resolve()
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        yield InputError(f"{table}: not UTF-8 text")
        return
    except OSError as error:
        yield InputError(f"{table}: {error.strerror or error}")
        return
    lines = text.splitlines(keepends=True)
    header = lines[0] if lines else ""
    rows = csv.reader(lines, delimiter="\t" if "\t" in header else ",", strict=True)
    try:
        names = next(rows, [])
        image_at = _column(table, names, image_column, IMAGE_COLUMNS, "image-column")
        caption_at = _column(table, names, caption_column, CAPTION_COLUMNS, "caption-column")
    except (InputError, csv.Error) as error:
        yield error if isinstance(error, InputError) else InputError(f"{table}, line 1: {error}")
        return
    while True:
        where = f"{table}, line {rows.line_num + 1}"  # where the row begins
        try:
            row = next(rows, None)
            if row is None:
                return
            if row:
                yield _row(where, row, len(names), image_at, caption_at, root)
        except csv.Error as error:
            yield InputError(f"{where}: {error}")
        except InputError as error:
            yield error


def _column(
    table: Path, names: list[str], wanted: str | None, usual: tuple[str, ...], option: str
) -> int:
    found = [n for n in names if n == wanted] if wanted else [n for n in usual if n in names]
    if not found:
        lacking = f'column "{wanted}"' if wanted else f"column {' or '.join(usual)}"
        has = ", ".join(names) or "nothing"
        raise InputError(f"{table}, line 1: no {lacking}; it has {has} (--{option} names one)")
    return names.index(found[0])


def _row(
    where: str, row: list[str], width: int, image_at: int, caption_at: int, root: Path
) -> Pair:
    if len(row) != width:
        raise InputError(f"{where}: {len(row)} columns where the header has {width}")
    name, caption = row[image_at], row[caption_at].strip()
    if not caption:
        raise InputError(f"{where}: the caption is empty")
    if not name.strip() or "\\" in name or "\0" in name:
        raise InputError(f'{where}: "{name}" is not the path of a picture')
    path = root / name
    if not path.resolve().is_relative_to(root):
        raise InputError(f'{where}: "{name}" is outside {root}')
    if not path.is_file():
        raise InputError(f"{where}: no picture {path}")
    return Pair(path, caption, where)


def _read_folder(folder: Path) -> Iterator[Pair | InputError]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    pictures = [p for p in files if p.suffix.lower() in SUFFIXES]
    beside = {p.with_suffix("") for p in pictures}
    if not pictures and not any(p.suffix == ".txt" for p in files):
        yield InputError(f"{folder}: no pictures, tables or .tar shards in it")
    for text in files:
        if text.suffix == ".txt" and text.with_suffix("") not in beside:
            yield InputError(f"{text}: a caption without a picture of the same name")
    for picture in pictures:
        text = picture.with_suffix(".txt")
        try:
            lines = text.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            yield InputError(f"{picture}: no caption, {text.name} is missing")
            continue
        except (OSError, UnicodeDecodeError) as error:
            yield InputError(f"{text}: not readable as UTF-8 text ({type(error).__name__})")
            continue
        if not any(line.strip() for line in lines):
            yield InputError(f"{text}: the caption is empty")
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield Pair(picture, line.strip(), f"{text}, line {number}")

"""A table of picture paths and captions: CSV, or TSV, whose first row names the columns.

A table may come from anywhere, so its paths are not trusted: each must name a file within one
folder. Every mistake names the line on which its row starts.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from minivlm.data.paths import file_inside
from minivlm.errors import InputError

IMAGE_COLUMNS = ("filepath", "image", "file_name", "filename", "image_path", "path")
CAPTION_COLUMNS = ("title", "caption", "text")  # the first one, open_clip's, goes first


def read_table(
    text: str, name: str, root: Path, image_column: str | None, caption_column: str | None
) -> Iterator[tuple[Path, str, str] | InputError]:
    """The picture, the caption and the place of each row, or what is wrong with the row.

    Args:
        text: the table; its columns are parted by tabs if its first line has one, else by commas.
        name: what to call the table in errors and places.
        root: the folder that paths start from and stay in.
        image_column: the column of paths; None finds it by its usual names.
        caption_column: likewise.

    Raises:
        InputError: the columns cannot be found, or `root` is no folder.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    parsed = _parsed(text, name)
    where, header = next(parsed, (name, []))
    if isinstance(header, InputError):
        raise header
    header = [column.strip() for column in header]
    image_at = _column(header, image_column, IMAGE_COLUMNS, "image", where)
    caption_at = _column(header, caption_column, CAPTION_COLUMNS, "caption", where)
    for where, row in parsed:
        try:
            if isinstance(row, InputError):
                raise row
            if len(row) != len(header):
                raise InputError(f"{where}: {len(row)} fields, but the header has {len(header)}")
            image, caption = (
                file_inside(root, row[image_at].strip(), where),
                row[caption_at].strip(),
            )
            if not caption:
                raise InputError(f"{where}: the caption is empty")
            yield image, caption, where
        except InputError as error:
            yield error


def _parsed(text: str, name: str) -> Iterator[tuple[str, list[str] | InputError]]:
    """The place and the fields of each row that is not blank; a quoted field may span lines."""
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        where = f"{name}, line {reader.line_num + 1}"
        try:
            if row := next(reader):
                yield where, row
        except StopIteration:
            return
        except csv.Error as error:
            yield where, InputError(f"{where}: {error}")


def _column(
    header: Sequence[str], asked: str | None, usual: Sequence[str], kind: str, where: str
) -> int:
    """The index of the column that was asked for, or that has a usual name."""
    names = [asked] if asked else usual[:1] if usual[0] in header else usual
    found = [index for index, column in enumerate(header) if column in names]
    if len(found) == 1:
        return found[0]
    many = "more than one column" if found else "no column"
    raise InputError(
        f"{where}: {many} named {' or '.join(names)} among: {', '.join(header)}; "
        f"name the right one with --{kind}-column"
    )

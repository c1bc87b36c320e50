"""Files that data names: they must be inside the folder that the user gave."""

from pathlib import Path

from minivlm.errors import InputError


def file_inside(root: Path, name: str, where: str) -> Path:
    """The file of that name in or below a folder, written in one way however the data wrote it.

    Args:
        root: the folder.
        name: a relative path, with / between its parts.
        where: such as "captions.csv, line 3", for errors.

    Raises:
        InputError: the name is empty, leads out of the folder, or is no file in it.
    """
    if not name:
        raise InputError(f"{where}: no picture is named")
    if "\\" in name:
        raise InputError(f'{where}: "{name}" has a backslash; write folders with /')
    try:
        whole, file = root.resolve(), (root / name).resolve()
        there = file.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, links in a circle
        raise InputError(f'{where}: "{name}" cannot be a file') from None
    if not file.is_relative_to(whole):
        raise InputError(f'{where}: "{name}" leads out of the folder {root}')
    if not there:
        raise InputError(f'{where}: no file "{name}" in the folder {root}')
    return root / file.relative_to(whole)

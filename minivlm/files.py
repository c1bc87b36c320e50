"""Files that are whole or absent: written beside their place, flushed to disk, then renamed.

A rename within a folder is atomic, so a process killed at any moment leaves the old file or the
new one, never half of one.
"""

import json
import os
from pathlib import Path
from typing import Any

from minivlm.errors import InputError

PARTS = ".*.part"  # what files are called until they are whole


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content`, or leave it as it was."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # JSON's own \udXXX, if need be


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        InputError: the file is missing, unreadable or not JSON; with its line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise InputError(f"{path}: JSON nested too deeply") from None

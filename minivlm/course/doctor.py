"""Is everything there that the course needs, and what to type where it is not?"""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass
from pathlib import Path

from minivlm.course.folder import STATE, Folder
from minivlm.course.record import catalogue, lacking
from minivlm.errors import InputError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        ok: it is as it should be.
        what: was looked at.
        mend: what to do if it is not.
    """

    ok: bool
    what: str
    mend: str = ""


def examine(place: Path) -> list[Finding]:
    """Python, packages, the student's folder and its files."""
    version = ".".join(map(str, sys.version_info[:3]))
    found = [
        Finding(sys.version_info >= (3, 11), f"Python {version}", "minivlm needs 3.11 or newer"),
        Finding(True, f"minivlm {importlib.metadata.version('minivlm')}"),
        Finding(True, f"{len(catalogue())} exercises"),
    ]
    missing = lacking()
    found.append(
        Finding(
            not missing,
            "packages for part E (kernels, without a GPU)",
            f"{', '.join(missing)}: pip install 'minivlm[kernels]'; parts A to D do without",
        )
    )
    try:
        folder = Folder.around(place)
    except InputError as error:
        return [*found, Finding(False, f"a course folder around {place}", str(error))]
    found.append(Finding(True, f"{folder.path / STATE}"))
    for exercise in catalogue().values():
        file = folder.file(exercise)
        if not file.is_file():
            mend = f"minivlm-course reset {exercise.id}"
            found.append(Finding(False, file.name, f"it is gone; {mend} brings it back"))
            continue
        try:
            compile(file.read_bytes(), str(file), "exec")
        except (SyntaxError, ValueError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            found.append(Finding(False, f"{file.name}{line}", f"Python cannot read it: {error}"))
    return found

"""A student's file with the library's bodies in it: what whoever tests the course hands in."""

from __future__ import annotations

from minivlm.course.folder import Folder
from minivlm.course.record import Exercise
from minivlm.course.source import body, edited_sources, filled
from minivlm.course.start import handed_out

Edits = tuple[tuple[str, str], ...]


def bodies(exercise: Exercise, edits: Edits = ()) -> list[list[str]]:
    """The lines of each target's body, at the left margin, with edits made."""
    targets = exercise.functions
    sources = edited_sources(targets, edits)
    return [body(source, target.name) for source, target in zip(sources, targets, strict=True)]


def solution(exercise: Exercise, edits: Edits = ()) -> str:
    """The file as it is handed out, with every body filled in."""
    return filled(handed_out(exercise), bodies(exercise, edits))


def solve(folder: Folder, exercise: Exercise, edits: Edits = ()) -> None:
    """Write it into a student's folder."""
    folder.file(exercise).write_text(solution(exercise, edits), encoding="utf-8")


def leaked(page: str, exercise: Exercise) -> list[str]:
    """Lines of an exercise's bodies that stand on a page, if they are enough to be a solution."""
    found = []
    for lines in bodies(exercise):
        code = [line.strip() for line in lines]
        code = [line for line in code if len(line) > 30 and line[0] not in "#\"'"]
        shown = [line for line in code if line in page]
        if "\n".join(lines) in page or len(shown) > len(code) // 3:
            found += shown or lines
    return found

"""A student's file with the library's bodies in it: what whoever tests the course hands in."""

from __future__ import annotations

from minivlm.course.folder import Folder
from minivlm.course.record import Exercise
from minivlm.course.source import NOT_WRITTEN, Target, body_lines, edited, module_source
from minivlm.course.start import handed_out

Edits = tuple[tuple[str, str], ...]


def body(target: Target) -> list[str]:
    """The lines of the library's body, at the left margin."""
    first, last = body_lines(target)
    lines = module_source(target.module).splitlines()[first - 1 : last]
    indent = len(lines[0]) - len(lines[0].lstrip())
    return [line[indent:] for line in lines]


def solution(exercise: Exercise, edits: Edits = ()) -> str:
    """The file as it is handed out with every body filled in, and then changed by edits."""
    bodies = [body(Target.parse(text)) for text in exercise.targets]
    out = []
    for line in handed_out(exercise).splitlines():
        if line.strip() == NOT_WRITTEN:
            indent = line[: len(line) - len(line.lstrip())]
            out += [indent + words if words else "" for words in bodies.pop(0)]
        else:
            out.append(line)
    return edited("\n".join(out) + "\n", edits)


def solve(folder: Folder, exercise: Exercise, edits: Edits = ()) -> None:
    """Write it into a student's folder."""
    folder.file(exercise).write_text(solution(exercise, edits), encoding="utf-8")


def leaked(page: str, exercise: Exercise) -> list[str]:
    """Lines of an exercise's bodies that stand on a page, if they are enough to be a solution."""
    found = []
    for target in map(Target.parse, exercise.targets):
        code = [line.strip() for line in body(target)]
        code = [line for line in code if len(line) > 30 and line[0] not in "#\"'"]
        shown = [line for line in code if line in page]
        if "\n".join(body(target)) in page or len(shown) > len(code) // 3:
            found += shown
    return found

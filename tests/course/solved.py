"""Student's folders for tests: solved by the library's own bodies, or wrong on purpose."""

from pathlib import Path

from minivlm.course.folder import Folder
from minivlm.course.record import Exercise
from minivlm.course.source import (
    NOT_WRITTEN,
    Target,
    body_lines,
    edited,
    module_source,
)
from minivlm.course.start import handed_out, start


def body(target: Target) -> list[str]:
    """The lines of the library's body, at the left margin."""
    first, last = body_lines(target)
    lines = module_source(target.module).splitlines()[first - 1 : last]
    indent = len(lines[0]) - len(lines[0].lstrip())
    return [line[indent:] for line in lines]


def solution(exercise: Exercise, edits: tuple[tuple[str, str], ...] = ()) -> str:
    """A student's file with the library's bodies in it, changed by edits."""
    bodies = [body(Target.parse(text)) for text in exercise.targets]
    out = []
    for line in handed_out(exercise).splitlines():
        if line.strip() == NOT_WRITTEN:
            indent = line[: len(line) - len(line.lstrip())]
            out += [indent + words if words else "" for words in bodies.pop(0)]
        else:
            out.append(line)
    assert not bodies
    return edited("\n".join(out) + "\n", edits)


def solve(folder: Folder, exercise: Exercise) -> None:
    """Write the solution into a student's file."""
    write(folder, exercise, solution(exercise))


def write(folder: Folder, exercise: Exercise, text: str) -> None:
    """Put a text into a student's file."""
    folder.file(exercise).write_text(text, encoding="utf-8")


def new_folder(path: Path) -> Folder:
    """A student's folder, under a name that a shell or a careless split would stumble over."""
    return start(path / "my course ü")

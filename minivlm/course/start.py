"""A student's folder is made: a file an exercise, each a stub that the library's source gives."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from minivlm.course.folder import STATE, Folder, variant_for
from minivlm.course.record import Change, Exercise, catalogue
from minivlm.course.source import Target, imports_for, stub
from minivlm.errors import InputError
from minivlm.files import write_bytes

WIDTH = 96
PAGES = {"README.md": "README.md", "AGENTS.md": "AGENTS.md", "launch.json": ".vscode/launch.json"}


def start(path: Path, seed: int = 0) -> Folder:
    """Make the folder, whole or not at all.

    Args:
        path: where; it may be there if it is empty.
        seed: chooses variants; 0 asks for the library's own functions.

    Raises:
        InputError: something is in the way.
    """
    if (path / STATE).exists():
        raise InputError(f"{path} is a course folder already; `minivlm-course list` there goes on")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is there and not empty; the course wants a folder of its own")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path.absolute().parent} is no folder to make {path.name} in")
    beside = path.absolute().with_name(f".{path.absolute().name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        for exercise in catalogue().values():
            text = handed_out(exercise, variant_for(exercise, seed))
            (beside / f"{exercise.stem}.py").write_text(text, encoding="utf-8")
        for name, place in PAGES.items():
            (beside / place).parent.mkdir(exist_ok=True)
            page = files("minivlm.course").joinpath("pages", name).read_text(encoding="utf-8")
            (beside / place).write_text(page, encoding="utf-8")
        Folder(beside, seed).save()
        if path.exists():
            path.rmdir()
        beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Folder(path, seed)


def reset(folder: Folder, exercise: Exercise) -> Path | None:
    """Put the stub back; where the old file went, if there was one that is not the stub."""
    file, text = folder.file(exercise), handed_out(exercise, folder.variant(exercise))
    kept = None
    if file.exists() and file.read_text(encoding="utf-8", errors="replace") != text:
        kept = _free_name(file)
        file.rename(kept)
    write_bytes(file, text.encode())
    folder.passed.pop(exercise.id, None)
    folder.save()
    return kept


def handed_out(exercise: Exercise, variant: Change | None = None) -> str:
    """The text of a student's file as it is given: the task, imports, and functions to write."""
    targets = exercise.functions
    code = "\n\n".join(part for part in (imports_for(targets), *_stubs(targets)) if part)
    return f'"""{task(exercise, variant)}\n"""\n\nfrom __future__ import annotations\n\n{code}'


def task(exercise: Exercise, variant: Change | None = None) -> str:
    """What is asked for, as a student reads it."""
    worth = f"{exercise.minutes} minutes, {exercise.points} point{'s'[: exercise.points - 1]}"
    ideas = f", builds on {', '.join(exercise.needs)}" if exercise.needs else ""
    parts = [f"{exercise.id} · {exercise.title}  ({worth}{ideas})", paragraphs(exercise.task)]
    if variant is not None:
        parts.append(paragraphs(f"UNLIKE THE LIBRARY: {variant.says}"))
    parts += [textwrap.indent(exercise.formula, "    "), textwrap.indent(exercise.shapes, "    ")]
    commands = f"minivlm-course check {exercise.id}      minivlm-course hint {exercise.id}"
    return "\n\n".join([*parts, f"    {commands}"])


def _stubs(targets: Sequence[Target]) -> list[str]:
    """Functions at the left margin; methods under their class, which stands for the library's."""
    out: list[str] = []
    owner = None
    for target in targets:
        text = stub(target).rstrip("\n")
        if target.owner is None:
            out.append("\n" + text)
        elif target.owner == owner:
            out[-1] += "\n\n" + textwrap.indent(text, "    ")
        else:
            says = f'"""What you write here takes its place in {target.module}.{target.owner}."""'
            out.append(f"\nclass {target.owner}:\n    {says}\n\n" + textwrap.indent(text, "    "))
        owner = target.owner
    return [*out[:-1], out[-1] + "\n"]


def paragraphs(text: str) -> str:
    """Filled paragraphs; those with an indented line stay as they are."""
    out = []
    for block in text.split("\n\n"):
        lines = block.splitlines()
        fill = not any(line.startswith(" ") for line in lines)
        out.append(textwrap.fill(" ".join(lines), WIDTH) if fill else block)
    return "\n\n".join(out)


def _free_name(file: Path) -> Path:
    number = 1
    while (kept := file.with_name(f"{file.stem}.old{number}.py")).exists():
        number += 1
    return kept

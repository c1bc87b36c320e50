"""What a student reads: after a check, of all exercises, of one hint, of the solution."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator

from minivlm.course import check
from minivlm.course.folder import Folder, fingerprint
from minivlm.course.record import Exercise, catalogue, count_functions
from minivlm.course.source import body_lines, file_of, function_source
from minivlm.course.start import paragraphs
from minivlm.errors import InputError
from minivlm.files import write_bytes

PARTS = {
    "A": "autograd",
    "B": "the vision transformer",
    "C": "CLIP",
    "D": "LLaVA",
    "E": "kernels",
}
MILESTONES = {part: f"M{number}" for number, part in enumerate(PARTS, 1)}
Say = Callable[[str], None]
POLL = 0.3  # seconds between two looks at a file


def check_once(
    folder: Folder, exercise: Exercise, say: Say, *, show: bool = False, pdb: bool = False
) -> bool:
    """Check a file, say what came of it and what to type next; True if it passed."""
    file = folder.file(exercise)
    if not file.is_file():
        raise InputError(
            f"{file}: no such file; `minivlm-course reset {exercise.id}` brings it back"
        )
    say(f"{file.name}: {_yours(folder, exercise)}")
    before = fingerprint(file)
    found = check.check(folder, exercise)
    say(check.summary(found))
    if found.printed.strip():
        say("  it printed:\n" + textwrap.indent(found.printed.strip()[-500:], "    "))
    if found.passed:
        folder.passed[exercise.id] = before
        folder.save()
        for line in _after_a_pass(folder, exercise):
            say(line)
    elif folder.passed.pop(exercise.id, None):
        folder.save()
    if not found.passed:
        say(_what_next(folder, exercise, found))
    if show and not found.passed:
        say(f"  picture: {_draw(folder, exercise, found)}")
    if pdb:
        check.step(folder, exercise, found.number)
    return found.passed


def watched(folder: Folder, exercise: Exercise, say: Say, *, show: bool = False) -> Iterator[bool]:
    """Check a file now and whenever it is saved; True when it has passed."""
    while True:
        seen = fingerprint(folder.file(exercise))
        yield check_once(folder, exercise, say, show=show)
        say(f"  waiting for {exercise.stem}.py to be saved; Ctrl-C ends")
        while fingerprint(folder.file(exercise)) == seen:
            time.sleep(POLL)


def table(folder: Folder) -> str:
    """Every exercise with its minutes and where the student stands."""
    lines = []
    for part, what in PARTS.items():
        mine = [exercise for exercise in catalogue().values() if exercise.part == part]
        if not mine:
            continue
        lines.append(f"{part}  {what}")
        for e in mine:
            lines.append(f"  {e.id} {e.title:<52} {e.minutes:3} min  {_state(folder, e)}".rstrip())
    done = folder.solved()
    points = sum(exercise.points for exercise in done)
    most = sum(exercise.points for exercise in catalogue().values())
    lines.append(f"{len(done)} of {len(catalogue())} exercises, {points} of {most} points")
    return "\n".join(lines)


def next_hint(folder: Folder, exercise: Exercise) -> str:
    """One hint more than were given; after the last, the last again."""
    number = min(folder.hints.get(exercise.id, 0) + 1, len(exercise.hints))
    folder.hints[exercise.id] = number
    folder.save()
    head = f"{exercise.id} hint {number} of {len(exercise.hints)}"
    return f"{head}\n\n{textwrap.indent(paragraphs(exercise.hints[number - 1]), '  ')}"


def solution(folder: Folder, exercise: Exercise, give_up: bool) -> str:
    """The library's own function, and where it stands.

    Raises:
        InputError: it has not passed, and nobody gave up.
    """
    if not folder.is_passed(exercise) and not give_up:
        raise InputError(
            f"{exercise.id} has not passed yet; `minivlm-course hint {exercise.id}` may help, and "
            f"`minivlm-course solution {exercise.id} --give-up` shows it all the same"
        )
    if not folder.is_passed(exercise) and exercise.id not in folder.gave_up:
        folder.gave_up.append(exercise.id)
        folder.save()
    parts = []
    for target in exercise.functions:
        where = f"# {file_of(target.module)}:{body_lines(target)[0]}"
        parts.append(f"{where}\n{function_source(target).rstrip()}")
    variant = folder.variant(exercise)
    if variant is not None:
        parts.append(f"# This is the library's. You are asked for a variant: {variant.says}")
    return "\n\n".join(parts)


def _yours(folder: Folder, exercise: Exercise) -> str:
    """How many functions are the student's, this one included."""
    mine = count_functions([*folder.solved(), exercise])
    return f"{mine} of {count_functions(catalogue().values())} functions are yours"


def _after_a_pass(folder: Folder, exercise: Exercise) -> Iterator[str]:
    part = [other for other in catalogue().values() if other.part == exercise.part]
    if all(folder.is_passed(other) for other in part):
        milestone = MILESTONES[exercise.part]
        yield f"  Part {exercise.part} is complete: minivlm-course milestone {milestone}"
    coming = folder.next()
    if coming is not None:
        yield f"  Next: {coming.id} {coming.title}, {coming.minutes} minutes: {coming.stem}.py"


def _what_next(folder: Folder, exercise: Exercise, found: check.Verdict) -> str:
    number = min(folder.hints.get(exercise.id, 0) + 1, len(exercise.hints))
    hint = f"Hint {number} of {len(exercise.hints)}: minivlm-course hint {exercise.id}"
    if found.unwritten:
        return f"  {hint}"
    again = f"minivlm-course check {exercise.id}"
    return f"  See it: {again} --show    Step it: {again} --pdb\n  {hint}"


def _draw(folder: Folder, exercise: Exercise, found: check.Verdict) -> str:
    from minivlm.course.show import picture  # matplotlib takes a second to import
    from minivlm.viz.style import png

    target = folder.path / "pictures" / f"{exercise.id}.png"
    content = png(picture(found))
    target.parent.mkdir(exist_ok=True)
    write_bytes(target, content)
    return str(target)


def _state(folder: Folder, exercise: Exercise) -> str:
    words = []
    if folder.is_passed(exercise):
        words.append("passed")
    elif exercise.id in folder.passed:
        words.append("changed since it passed")
    if exercise.id in folder.gave_up:
        words.append("solution seen")
    if (count := folder.hints.get(exercise.id, 0)) and not folder.is_passed(exercise):
        words.append(f"{count} of {len(exercise.hints)} hints")
    return ", ".join(words)

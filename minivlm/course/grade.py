"""A folder is graded: each exercise by itself, so that none can take others with it.

A result is added to the report as soon as it is known: whatever ends the grader, what was graded
before stays graded.

Source: the format of Gradescope, https://gradescope-autograders.readthedocs.io/en/latest/specs/.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from minivlm.course import check
from minivlm.course.folder import variant_for
from minivlm.course.record import Exercise, catalogue, find, require_kernels
from minivlm.errors import InputError

MOST_BYTES = 200_000  # of a student's file


@dataclass(frozen=True)
class Settings:
    """What an instructor keeps to himself, from a TOML file.

    Attributes:
        seeds: of the cases; an exercise passes if it passes with each.
        variants: the seed that chose the variants in what was handed out; 0 for none.
        exercises: ids of what is graded; empty for all.
        points: other points than the exercises' own, by id.
    """

    seeds: tuple[int, ...] = (check.SEED,)
    variants: int = 0
    exercises: tuple[str, ...] = ()
    points: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Settings:
        """From a file.

        Raises:
            InputError: it is not there, not TOML, or says something else.
        """
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not TOML: {error}") from None
        kinds = {"seeds": list, "variants": int, "exercises": list, "points": dict}
        for key, value in given.items():
            if key not in kinds or not isinstance(value, kinds[key]):
                raise InputError(f'{path}: "{key}"; it may have {", ".join(kinds)}')
        seeds = given.get("seeds", [check.SEED])
        if not seeds or not all(isinstance(seed, int) and seed >= 0 for seed in seeds):
            raise InputError(f'{path}: "seeds" are whole numbers, at least one')
        points = {find(str(name)).id: value for name, value in given.get("points", {}).items()}
        if not all(isinstance(value, int) and value >= 0 for value in points.values()):
            raise InputError(f'{path}: "points" are whole numbers')
        chosen = tuple(find(str(name)).id for name in given.get("exercises", []))
        return cls(tuple(seeds), given.get("variants", 0), chosen, points)

    def chosen(self) -> list[Exercise]:
        """What is graded, in order."""
        wanted = self.exercises or tuple(catalogue())
        return [exercise for exercise in catalogue().values() if exercise.id in wanted]

    def worth(self, exercise: Exercise) -> int:
        """Points for an exercise."""
        return self.points.get(exercise.id, exercise.points)


@dataclass(frozen=True)
class Mark:
    """What an exercise got.

    Attributes:
        exercise: which.
        score: 0 or `most`.
        most: its points.
        says: a line or a few, which name no input and no expected number.
        passed: it was right, whatever that is worth.
    """

    exercise: Exercise
    score: int
    most: int
    says: str
    passed: bool = False


def grade(folder: Path, settings: Settings) -> Iterator[Mark]:
    """The mark of each exercise, one after another.

    Raises:
        InputError: there is no such folder, or kernels are to be graded and cannot run here.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    for exercise in settings.chosen():
        if exercise.kernel:  # seen before anything is graded, for it is no fault of the student's
            require_kernels(exercise.id)
    for exercise in settings.chosen():
        yield _mark(exercise, folder.resolve() / f"{exercise.stem}.py", settings)


def _mark(exercise: Exercise, file: Path, settings: Settings) -> Mark:
    most = settings.worth(exercise)
    head = f"{exercise.id} {exercise.name}"
    if not file.is_file() or file.is_symlink():
        return Mark(exercise, 0, most, f"{head}  no file {file.name}")
    if file.stat().st_size > MOST_BYTES:
        return Mark(exercise, 0, most, f"{head}  {file.name} is larger than {MOST_BYTES} bytes")
    variant = variant_for(exercise, settings.variants)
    for seed in settings.seeds:
        found = check.grade(exercise, file, seed=seed, variant=variant)
        if not found.passed:
            return Mark(exercise, 0, most, check.summary(found, hidden=True))
    return Mark(exercise, most, most, f"{head}  PASS", passed=True)


def text(marks: list[Mark]) -> str:
    """A table for people, with what was wrong below it."""
    lines = [f"{m.exercise.id} {m.exercise.title:<48} {m.score:3} / {m.most:<3}" for m in marks]
    total, most = sum(m.score for m in marks), sum(m.most for m in marks)
    share = f"{total / most:.0%}" if most else "nothing was graded"
    lines.append(f"{'':<52} {total:3} / {most:<3}  {share}")
    wrong = [m.says for m in marks if not m.passed]
    return "\n".join([*lines, *(["", *wrong] if wrong else [])]) + "\n"


def gradescope(marks: list[Mark]) -> str:
    """`results.json` as Gradescope reads it."""
    tests = [
        {
            "name": f"{m.exercise.id} {m.exercise.title}",
            "score": m.score,
            "max_score": m.most,
            "status": "passed" if m.passed else "failed",
            "output": m.says,
            "visibility": "visible",
        }
        for m in marks
    ]
    return json.dumps({"tests": tests, "visibility": "visible"}, indent=1, ensure_ascii=False)


def junit(marks: list[Mark]) -> str:
    """A test suite in JUnit's XML."""
    failures = sum(not m.passed for m in marks)
    suite = ElementTree.Element(
        "testsuite", name="minivlm-course", tests=str(len(marks)), failures=str(failures)
    )
    for m in marks:
        name = f"{m.exercise.id} {m.exercise.title}"
        case = ElementTree.SubElement(suite, "testcase", classname="minivlm-course", name=name)
        if not m.passed:
            message = m.says.splitlines()[0]
            ElementTree.SubElement(case, "failure", message=message).text = _xml(m.says)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _xml(words: str) -> str:
    """Text without what XML cannot hold, such as a student's control characters."""
    return "".join(c for c in words if c in "\n\t" or c.isprintable())


FORMATS: dict[str, Callable[[list[Mark]], str]] = {
    "text": text,
    "gradescope": gradescope,
    "junit": junit,
}

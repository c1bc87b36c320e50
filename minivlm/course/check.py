"""One exercise, checked: pass, or the first thing that is wrong and the mistake's name.

The student's code runs in another process. Here are the expected results, from the library as it
is; and if they differ, those of every known mistake, to see whether one gives what the student got.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minivlm.course import overlay
from minivlm.course.ask import Asked
from minivlm.course.compare import Difference, Failed, Result, described, difference
from minivlm.course.folder import Folder
from minivlm.course.record import Case, Change, Driver, Exercise
from minivlm.course.source import Target, edited_sources
from minivlm.course.worker import run_case

SEED = 20261125  # of the cases that everyone sees; a grader takes others
COMMON = {"ValueError", "TypeError", "IndexError", "KeyError", "AttributeError", "NameError"}


@dataclass(frozen=True)
class Verdict:
    """What came of a check.

    Attributes:
        exercise: what was checked.
        case: the first case that is wrong; None where all are right.
        difference: what is wrong with it.
        got: the student's result of that case.
        expected: the library's.
        mistake: the known mistake that gives the same results.
        printed: what the student's code wrote.
        number: of the case, from 0.
        cases: how many there are.
    """

    exercise: Exercise
    case: Case | None = None
    difference: Difference | None = None
    got: Result | None = None
    expected: Result | None = None
    mistake: Change | None = None
    printed: str = ""
    number: int = 0
    cases: int = 0

    @property
    def passed(self) -> bool:
        """Every case is right."""
        return self.case is None

    @property
    def unwritten(self) -> bool:
        """The file is as it was handed out."""
        return self.got is not None and _kind(self.got) == "NotWritten"


def check(folder: Folder, exercise: Exercise) -> Verdict:
    """Check the student's file, with all else that has passed in the library."""
    file, others = folder.file(exercise), others_of(folder, exercise)
    asked = Asked(exercise, file, seed=SEED, others=others)
    return verdict(exercise, asked, seed=SEED, variant=folder.variant(exercise))


def step(folder: Folder, exercise: Exercise, case: int) -> None:
    """Walk through the student's function in a debugger, at this terminal."""
    file, others = folder.file(exercise), others_of(folder, exercise)
    asked = Asked(exercise, file, seed=SEED, others=others, pdb=case)
    try:
        asked.process.wait()
    finally:
        asked.stop()


def others_of(folder: Folder, exercise: Exercise) -> dict[Path, tuple[str, ...]]:
    """The files of other exercises that are in the library during a check, with their targets.

    A kernel is not: only kernels would use it. Nor is a variant: the library counts on its own.
    """
    return {
        folder.file(other): other.targets
        for other in folder.solved()
        if other.id != exercise.id and not folder.variant(other) and not other.kernel
    }


def grade(exercise: Exercise, file: Path, *, seed: int, variant: Change | None) -> Verdict:
    """Check an unfriendly file, with nothing else of the student's in the library."""
    return verdict(exercise, Asked(exercise, file, seed=seed, graded=True), seed, variant)


def verdict(exercise: Exercise, asked: Asked, seed: int, variant: Change | None) -> Verdict:
    """Compare what a worker computes with what is right."""
    try:
        cases = cases_of(exercise, seed)
        expected = results(exercise, cases, variant)
    except BaseException:
        asked.stop()
        raise
    answer = asked.answer(len(cases))
    return judged(exercise, cases, answer.results, expected, variant, answer.printed)


def judged(
    exercise: Exercise,
    cases: list[Case],
    got: list[Result],
    expected: list[Result],
    variant: Change | None = None,
    printed: str = "",
) -> Verdict:
    """The verdict on results."""
    for number, (mine, right) in enumerate(zip(got, expected, strict=True)):
        found = difference(mine, right, exercise.tolerance)
        if found is not None:
            mistake = named(exercise, cases, got, expected, variant)
            return Verdict(
                exercise, cases[number], found, mine, right, mistake, printed, number, len(cases)
            )
    return Verdict(exercise, printed=printed, cases=len(cases))


def cases_of(exercise: Exercise, seed: int) -> list[Case]:
    """The inputs."""
    return list(exercise.driver().cases(np.random.default_rng(seed)))


def results(exercise: Exercise, cases: list[Case], change: Change | None) -> list[Result]:
    """What the library gives in each case, with that change made to it."""
    driver = exercise.driver()
    with overlay.replaced(changed(exercise, change) if change else {}):
        return [result_of(driver, case) for case in cases]


def named(
    exercise: Exercise,
    cases: list[Case],
    got: list[Result],
    expected: list[Result],
    variant: Change | None = None,
) -> Change | None:
    """The known mistake that gives these results in every case, if one does.

    Who makes a mistake may also have forgotten what should be an error: if no mistake fits every
    case, one that fits all others will do, as long as they show that something is wrong. What is
    not written yet says nothing of the rest.

    A ValueError may come from anything: where no wrong number came out, but only exceptions, the
    mistake's have to say the same, but for numbers.
    """
    wrong = _unlike(exercise, got, expected)
    kinds = {_kind(got[number]) for number in wrong}
    if kinds == {"NotWritten"}:
        return None
    vague = wrong if kinds <= COMMON else set()
    errors = {number for number, case in enumerate(cases) if case.get("raises")}
    nearly = None
    for mistake in exercise.mistakes:
        unlike = _first_unlike(exercise, mistake, cases, got, vague)
        if not unlike:
            return mistake
        if nearly is None and unlike <= errors and wrong - errors:
            nearly = mistake
    if nearly is not None:
        return nearly
    if variant is not None and not _unlike(exercise, got, results(exercise, cases, None)):
        return Change(
            "the library's own",
            f"This is what the library does. You are asked for a variant: {variant.says}",
            (),
        )
    return None


def _unlike(exercise: Exercise, got: list[Result], right: list[Result]) -> set[int]:
    """The numbers of the cases in which two results differ."""
    pairs = enumerate(zip(got, right, strict=True))
    return {n for n, (mine, theirs) in pairs if difference(mine, theirs, exercise.tolerance)}


def _first_unlike(
    exercise: Exercise, mistake: Change, cases: list[Case], got: list[Result], vague: set[int]
) -> set[int]:
    """The numbers of cases in which a mistake has other results, or in `vague` other words.

    It stops at the first that is not about an error, for then it is another mistake.
    """
    driver, unlike = exercise.driver(), set[int]()
    with overlay.replaced(changed(exercise, mistake)):
        for number, (case, mine) in enumerate(zip(cases, got, strict=True)):
            if _kind(mine) == "NotWritten":
                continue
            theirs = result_of(driver, case)
            same_words = number not in vague or _words(mine) == _words(theirs)
            if difference(mine, theirs, exercise.tolerance) is None and same_words:
                continue
            unlike.add(number)
            if not case.get("raises"):
                break
    return unlike


def _kind(result: Result) -> str:
    """Of an exception; empty for numbers."""
    return result.kind if isinstance(result, Failed) else ""


def _words(result: Result) -> str:
    """What an exception says, whatever its numbers."""
    return re.sub(r"\d+", "#", result.message) if isinstance(result, Failed) else ""


def changed(exercise: Exercise, change: Change) -> dict[Target, overlay.Callable]:
    """The targets' functions with a change made to their sources."""
    targets = exercise.functions
    functions = {}
    for target, source in zip(targets, edited_sources(targets, change.edits), strict=True):
        functions[target] = overlay.from_source(target, source, f"<{change.name}>")
    by_name = {target.name: new for target, new in functions.items() if target.owner is None}
    for new in functions.values():  # as in a student's file, they know each other
        names = getattr(new, "__globals__", {})
        names.update({name: other for name, other in by_name.items() if name in names})
    return functions


def result_of(driver: Driver, case: Case) -> Result:
    """What a case gives here, an exception included."""
    try:
        return run_case(driver, case)
    except Exception as error:
        return Failed(type(error).__name__, str(error))


def summary(found: Verdict, hidden: bool = False) -> str:
    """The call and what is wrong, without what to do next.

    Args:
        found: the verdict.
        hidden: leave out the inputs and the numbers expected.
    """
    exercise = found.exercise
    head = f"{exercise.id} {exercise.name}"
    if found.passed:
        return f"{head}  PASS  {found.cases} cases"
    if found.unwritten:
        assert isinstance(found.got, Failed)
        return f"{head}  {found.got.message} is not written yet ({found.got.place})"
    assert found.case is not None
    assert found.difference is not None
    if hidden:
        lines = [f"{head}  FAIL", f"  {found.difference.brief}"]
    else:
        lines = [f"{head}  FAIL  {described(found.case)}", f"  {found.difference.says}"]
    if found.mistake is not None:
        says = textwrap.fill(" ".join(found.mistake.says.split()), 98)
        lines.append(textwrap.indent(says, "  "))
    return "\n".join(lines)

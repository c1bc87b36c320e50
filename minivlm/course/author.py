"""What must hold of every exercise, for who writes one: the gates, and mutants.

minivlm-course author check            # the gates of all exercises
minivlm-course author check E10        # of one
minivlm-course author mutants E10      # which small wrong changes of E10 its check overlooks
"""

from __future__ import annotations

import ast
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import numpy as np

from minivlm.course import check, overlay
from minivlm.course.compare import Failed, Result, difference
from minivlm.course.mutate import Mutant, mutants
from minivlm.course.record import Case, Exercise, catalogue
from minivlm.course.source import (
    Target,
    body,
    filled,
    find,
    function_source,
    stub,
    written,
)
from minivlm.errors import InputError

SEEDS = range(10)
OTHER_SEEDS = range(100, 112)  # on which a mutant that passed is tried again
SECONDS = 5  # for all cases of a mutant, of which some never end


def complaints(exercise: Exercise) -> list[str]:
    """What is wrong with an exercise; nothing, if it may be handed out."""
    found: list[str] = []
    for gate in (stub_fails, reference_passes, mistakes_named, variants_work, body_is_the_librarys,
                 record_complete, nothing_later):  # fmt: skip
        try:
            found += [f"{exercise.id}: {line}" for line in gate(exercise)]
        except InputError as error:
            found.append(f"{exercise.id}: {error}")
    return found


def stub_fails(exercise: Exercise) -> Iterator[str]:
    """G1: what is handed out does not pass."""
    cases, expected = _expected(exercise, check.SEED)
    functions = {t: overlay.from_source(t, stub(t), "<stub>") for t in exercise.functions}
    for target, function in functions.items():  # each of them alone, too
        with overlay.replaced({target: function}):
            got = _results(exercise, cases)
        if check.judged(exercise, cases, got, expected).passed:
            yield f"passes although {target} is not written"


def reference_passes(exercise: Exercise) -> Iterator[str]:
    """G2: the library's own body passes, for ten seeds."""
    for seed in SEEDS:
        cases, expected = _expected(exercise, seed)
        if len(cases) < 3:
            yield f"{len(cases)} cases, at least three are asked for"
        for case, result in zip(cases, expected, strict=True):
            if isinstance(result, Failed) and not case.get("raises"):
                yield f"seed {seed}: the library itself raises {result}"
                return
        with overlay.replaced({t: overlay.reference(t) for t in exercise.functions}):
            got = _results(exercise, cases)
        if not check.judged(exercise, cases, got, expected).passed:
            yield f"seed {seed}: the library's own body does not pass"


def mistakes_named(exercise: Exercise) -> Iterator[str]:
    """G3: each known mistake fails, and is named and not another."""
    for seed in (check.SEED, *SEEDS[:3]):
        cases, expected = _expected(exercise, seed)
        for mistake in exercise.mistakes:
            got = check.results(exercise, cases, mistake)
            found = check.judged(exercise, cases, got, expected)
            if found.passed:
                yield f"seed {seed}: passes with the mistake {mistake.name!r}"
            elif found.mistake is not mistake:
                other = found.mistake.name if found.mistake else "nothing"
                yield f"seed {seed}: the mistake {mistake.name!r} is taken for {other!r}"


def variants_work(exercise: Exercise) -> Iterator[str]:
    """The library's own body fails where a variant is asked for, and the variant passes."""
    for variant in exercise.variants:
        cases, own = _expected(exercise, check.SEED)
        asked = check.results(exercise, cases, variant)
        pairs = zip(cases, asked, strict=True)
        if any(isinstance(result, Failed) and not case.get("raises") for case, result in pairs):
            yield f"the variant {variant.name!r} raises an error"
        if check.judged(exercise, cases, own, asked, variant).passed:
            yield f"the library's own body passes for the variant {variant.name!r}"


def body_is_the_librarys(exercise: Exercise) -> Iterator[str]:
    """G4: stub plus body is the library's function."""
    for target in exercise.functions:
        source = function_source(target)
        whole = filled(stub(target), [body(source, target.name)])
        if ast.dump(ast.parse(whole)) != ast.dump(ast.parse(source)):
            yield f"{target}: the stub with the library's body is not the library's function"


def record_complete(exercise: Exercise) -> Iterator[str]:
    """G5: everything a student may ask for is there."""
    if len(exercise.hints) != 3:
        yield f"{len(exercise.hints)} hints, not three"
    if not exercise.mistakes:
        yield "no known mistake"
    for name in ("title", "task", "formula", "shapes", "picture", "minutes", "points", "targets"):
        if not getattr(exercise, name):
            yield f"no {name}"
    for text in (*exercise.hints, *(c.says for c in (*exercise.mistakes, *exercise.variants))):
        if not text.strip():
            yield "an empty hint, or a mistake without a sentence"
    for need in exercise.needs:
        if need not in catalogue() or need >= exercise.id:
            yield f"needs {need}, which is not an earlier exercise"
    for target in exercise.functions:
        doc = ast.get_docstring(_inner(target))
        if not doc:
            yield f"{target} has no docstring to write it from"


def nothing_later(exercise: Exercise) -> Iterator[str]:
    """G6: the check calls no function that is a later exercise."""
    called: set[str] = set()
    later: dict[Target, Callable] = {}
    for other in catalogue().values():
        if other.id > exercise.id and not other.kernel:
            for target in other.functions:
                later[target] = _recording(target, called)
    with overlay.replaced(later):
        _results(exercise, check.cases_of(exercise, check.SEED))
    for name in sorted(called):
        yield f"its check calls {name}, which is a later exercise"


@dataclass(frozen=True)
class Tried:
    """How an exercise's check did on mutants.

    Attributes:
        killed: how many failed.
        same: how many passed and gave the same results for other inputs, too.
        survivors: those that passed although they change a result.
        quiet: those of `same`, for who looks through them.
    """

    killed: int
    same: int
    survivors: list[Mutant]
    quiet: list[Mutant]


def try_mutants(exercise: Exercise) -> Tried:
    """Put every mutant of its targets through the check."""
    cases, expected = _expected(exercise, check.SEED)
    others = [_expected(exercise, seed) for seed in OTHER_SEEDS]
    killed, quiet, survivors = 0, [], []
    for target in exercise.functions:
        for mutant in mutants(function_source(target), _inner(target).name):
            if _noticed(exercise, target, mutant, cases, expected):
                killed += 1
            elif any(_noticed(exercise, target, mutant, *other) for other in others):
                survivors.append(mutant)
            else:
                quiet.append(mutant)
    return Tried(killed, len(quiet), survivors, quiet)


def _noticed(
    exercise: Exercise, target: Target, mutant: Mutant, cases: list[Case], expected: list[Result]
) -> bool:
    try:
        with _limited(SECONDS), np.errstate(all="ignore"):
            function = overlay.from_source(target, mutant.source, "<mutant>")
            with overlay.replaced({target: function}):
                driver = exercise.driver()
                return any(
                    difference(check.result_of(driver, case), right, exercise.tolerance)
                    for case, right in zip(cases, expected, strict=True)
                )
    except Exception:  # the mutant never ends, or does not even become a function
        return True


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """TimeoutError after so long, where the system has an alarm."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _expected(exercise: Exercise, seed: int) -> tuple[list[Case], list[Result]]:
    cases = check.cases_of(exercise, seed)
    return cases, check.results(exercise, cases, None)


def _results(exercise: Exercise, cases: list[Case]) -> list[Result]:
    return check.results(exercise, cases, None)


def _recording(target: Target, called: set[str]) -> Callable:
    function = overlay.reference(target)

    def recorded(*args: object, **kwargs: object) -> object:
        called.add(str(target))
        return function(*args, **kwargs)

    return recorded


def _inner(target: Target) -> ast.FunctionDef:
    """The function that is to be written: the target's, or the one that it makes."""
    return written(find(ast.parse(function_source(target)), (target.name,)))

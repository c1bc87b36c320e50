"""What must hold of the course as a whole: solved it scores everything, and nothing leaks.

Gates G7 to G9; those of a single exercise are in `author.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from minivlm.course import check
from minivlm.course.export import handout
from minivlm.course.grade import Settings, grade
from minivlm.course.record import catalogue
from minivlm.course.solved import leaked, solve
from minivlm.course.start import start

MOST_CPU, MOST_MEGABYTES = 60.0, 500.0  # of a whole grade; Gradescope has 768 MB
MOST_CHECK = 2.0  # seconds of CPU


@dataclass
class Whole:
    """What was seen.

    Attributes:
        complaints: what is wrong, but for costs.
        cpu: seconds that a whole grade took, in all of its processes; NaN if nobody counted.
        megabytes: of the largest of them.
        check: seconds of CPU of the longest check.
    """

    complaints: list[str] = field(default_factory=list)
    cpu: float = float("nan")
    megabytes: float = float("nan")
    check: float = 0.0

    def too_much(self) -> list[str]:
        """Costs beyond what is promised; on a busy machine they are more than on a quiet one."""
        return [
            f"{name}: {value:.1f}, more than {most:.0f}"
            for name, value, most in (
                ("a whole grade's seconds of CPU", self.cpu, MOST_CPU),
                ("its largest process's MB", self.megabytes, MOST_MEGABYTES),
                ("the longest check's seconds of CPU", self.check, MOST_CHECK),
            )
            if value > most
        ]


def examine() -> Whole:
    """G7, G8 and G9."""
    found = Whole()
    with tempfile.TemporaryDirectory() as made:
        room = Path(made)
        found.complaints += _solved(room / "solved", found)
        found.complaints += _wrong(room / "wrong")
        found.complaints += _handed_out(room / "handout")
    return found


def _solved(room: Path, found: Whole) -> Iterator[str]:
    """G7 and G9: a solved course passes check by check, and in a grade."""
    folder = start(room)
    for exercise in catalogue().values():
        solve(folder, exercise)
        before = _used()[0]
        if not check.check(folder, exercise).passed:
            yield f"{exercise.id}: its solution does not pass when it is checked"
        found.check = max(found.check, _used()[0] - before)
    before = _used()[0]
    for mark in grade(room, Settings()):
        if not mark.passed:
            yield f"{mark.says}: its solution does not pass when it is graded"
    cpu, found.megabytes = _used()
    found.cpu = cpu - before


def _wrong(room: Path) -> Iterator[str]:
    """G7: each exercise's first known mistake scores 0."""
    folder = start(room)
    for exercise in catalogue().values():
        solve(folder, exercise, exercise.mistakes[0].edits)
    for mark in grade(room, Settings()):
        if mark.score or mark.passed:
            yield f"{mark.exercise.id}: scores with the mistake {mark.exercise.mistakes[0].name!r}"


def _handed_out(room: Path) -> Iterator[str]:
    """G8: no solution text in what is handed out."""
    files = [path for path in handout(room).rglob("*") if path.is_file()]
    page = "\n".join(path.read_text(encoding="utf-8") for path in files)
    for exercise in catalogue().values():
        for line in leaked(page, exercise):
            yield f"{exercise.id}: the handout says {line!r}"


def _used() -> tuple[float, float]:
    """Seconds of CPU of this process and those that it waited for, and MB of the largest of these.

    NaN on systems that do not count.
    """
    try:
        import resource
    except ImportError:
        return float("nan"), float("nan")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used), used[1].ru_maxrss / 1024

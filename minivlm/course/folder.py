"""A student's folder: one file an exercise, and what has been passed, hinted at and given up.

`course.json` is kept by the commands. It says which exercises have passed, each with a fingerprint
of the file that did: a file that was edited since has to pass again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minivlm.course.record import Change, Exercise, catalogue
from minivlm.errors import InputError
from minivlm.files import read_json, write_json

STATE = "course.json"


@dataclass
class Folder:
    """Where a student works.

    Attributes:
        path: the folder.
        seed: 0, or what chose its variants.
        passed: fingerprints of the files that passed, by exercise.
        hints: how many were asked for, by exercise.
        gave_up: exercises whose solution was shown before they passed.
    """

    path: Path
    seed: int = 0
    passed: dict[str, str] = field(default_factory=dict)
    hints: dict[str, int] = field(default_factory=dict)
    gave_up: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> Folder:
        """The folder at `path`.

        Raises:
            InputError: it is no student's folder.
        """
        state = read_json(path / STATE)
        keys = {"seed", "passed", "hints", "gave_up"}
        if not isinstance(state, dict) or state.keys() != keys:
            raise InputError(f"{path / STATE}: not the state of a course; it has {sorted(keys)}")
        for key, kind in (("seed", int), ("passed", dict), ("hints", dict), ("gave_up", list)):
            if not isinstance(state[key], kind):
                raise InputError(f'{path / STATE}: "{key}" is not of the right kind')
        return cls(path, **state)

    @classmethod
    def around(cls, start: Path) -> Folder:
        """The folder that `start` lies in.

        Raises:
            InputError: there is none.
        """
        for path in (start, *start.resolve().parents):
            if (path / STATE).is_file():
                return cls.open(path)
        raise InputError(
            f"{start.resolve()} is not in a course folder; `minivlm-course start DIR` makes one"
        )

    def save(self) -> None:
        """Write what is known."""
        state: dict[str, Any] = {
            "seed": self.seed,
            "passed": self.passed,
            "hints": self.hints,
            "gave_up": self.gave_up,
        }
        write_json(self.path / STATE, state)

    def file(self, exercise: Exercise) -> Path:
        """Where the student writes it."""
        return self.path.resolve() / f"{exercise.stem}.py"

    def is_passed(self, exercise: Exercise) -> bool:
        """The file as it is now has passed."""
        seen = self.passed.get(exercise.id)
        return seen is not None and seen == fingerprint(self.file(exercise))

    def solved(self) -> list[Exercise]:
        """The exercises that are the student's, in order."""
        return [exercise for exercise in catalogue().values() if self.is_passed(exercise)]

    def next(self) -> Exercise | None:
        """The first that has not passed."""
        for exercise in catalogue().values():
            if not self.is_passed(exercise):
                return exercise
        return None

    def variant(self, exercise: Exercise) -> Change | None:
        """What is asked for instead of the library's own function."""
        return variant_for(exercise, self.seed)


def variant_for(exercise: Exercise, seed: int) -> Change | None:
    """The variant that a seed chooses; None for seed 0, and where there are none."""
    if not seed or not exercise.variants:
        return None
    digest = hashlib.sha256(f"{seed} {exercise.id}".encode()).digest()
    return exercise.variants[digest[0] % len(exercise.variants)]


def fingerprint(file: Path) -> str:
    """Of a file's content; empty if there is no such file."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    except OSError:
        return ""

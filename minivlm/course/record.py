"""What an exercise says: its task, its hints, the mistakes that it knows by name.

An exercise `e10_attention` is two files in `exercises/`. The `.toml`, read here, is all prose and
wrong turns; the `.py` makes awkward inputs and calls the target. The stub and the solution are in
neither: both are the library's own function, without its body and with it.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from minivlm.course.source import Target
from minivlm.errors import InputError

FOLDER = Path(__file__).parent / "exercises"
KERNEL_PACKAGES = ("numba", "numba_cuda", "ml_dtypes")
Case = dict[str, Any]  # a call's inputs by name: arrays, numbers, None
Outputs = dict[str, np.ndarray]  # what came of it, by name


class Driver(Protocol):
    """An exercise's `.py`: inputs, and the call of the target with them."""

    @staticmethod
    def cases(rng: np.random.Generator) -> Iterator[Case]:
        """Awkward inputs: at least three, none square, one of batch 1."""
        ...

    @staticmethod
    def run(case: Case) -> Outputs:
        """What the library gives for them, by the target it finds under its usual name."""
        ...


@dataclass(frozen=True)
class Change:
    """Another body for the target: a mistake that students make, or a variant to be asked for.

    Attributes:
        name: a few words.
        says: for a mistake, the sentence that names it; for a variant, what differs.
        edits: pairs (what the library's source says, what this says), each found exactly once.
    """

    name: str
    says: str
    edits: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Exercise:
    """A function of the library that a student writes again.

    Attributes:
        id: such as "E10".
        name: one word, also of the file that the student gets.
        title: a few words.
        part: "A" … "E".
        minutes: what it takes.
        points: what it is worth.
        targets: "module:function" or "module:Class.method".
        needs: exercises whose ideas it builds on.
        task: a paragraph or two.
        formula: what is to be computed, in letters.
        shapes: one line for each argument and result.
        picture: what to look for in the picture of `check --show`.
        hints: three: the idea; where, and which shape; pseudo-code.
        mistakes: the wrong turns that are known.
        variants: what an instructor may ask for instead.
        tolerance: largest accepted error of float64 results, relative to the largest expected.
        kernel: True where it needs the stepper's packages.
    """

    id: str
    name: str
    title: str
    part: str
    minutes: int
    points: int
    targets: tuple[str, ...]
    needs: tuple[str, ...]
    task: str
    formula: str
    shapes: str
    picture: str
    hints: tuple[str, ...]
    mistakes: tuple[Change, ...]
    variants: tuple[Change, ...] = ()
    tolerance: float = 1e-9
    kernel: bool = False

    @property
    def functions(self) -> tuple[Target, ...]:
        """The targets, each with its module and its name."""
        return tuple(map(Target.parse, self.targets))

    @property
    def stem(self) -> str:
        """The name of its files, without their ending."""
        return f"{self.id.lower()}_{self.name}"

    def driver(self) -> Driver:
        """What makes its inputs and calls its target.

        Raises:
            InputError: it is a kernel, and packages for kernels are missing.
        """
        if self.kernel:
            require_kernels(self.id)
        return importlib.import_module(f"minivlm.course.exercises.{self.stem}")  # type: ignore


def read(path: Path) -> Exercise:
    """One exercise from its `.toml`.

    Raises:
        InputError: the file is not TOML, lacks a key or has one too many.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}") from None
    for key in ("mistakes", "variants"):
        fields[key] = tuple(_change(path, entry) for entry in fields.get(key, ()))
    number, name = path.stem.split("_", 1)
    try:
        return Exercise(id=number.upper(), name=name, **{k: _plain(v) for k, v in fields.items()})
    except TypeError as error:
        raise InputError(f"{path}: {str(error).split('__init__() ')[-1]}") from None


@cache
def catalogue() -> dict[str, Exercise]:
    """Every exercise under its id, in order."""
    found = [read(path) for path in sorted(FOLDER.glob("e[0-9][0-9]_*.toml"))]
    return {exercise.id: exercise for exercise in found}


def lacking() -> list[str]:
    """Packages for kernels that are not installed."""
    return [name for name in KERNEL_PACKAGES if importlib.util.find_spec(name) is None]


def require_kernels(what: str) -> None:
    """See that kernels can run here.

    Raises:
        InputError: they cannot; with what to do.
    """
    if missing := lacking():
        raise InputError(
            f"{what} needs {', '.join(missing)}, as kernels do: "
            'pip install -e ".[kernels]" in the folder of minivlm'
        )


def count_functions(exercises: Iterable[Exercise]) -> int:
    """How many functions they are, together."""
    return len({target for exercise in exercises for target in exercise.targets})


def find(text: str) -> Exercise:
    """The exercise that a user means by "E10", "e10", "10" or the path of its file.

    Raises:
        InputError: there is no such exercise.
    """
    match = re.fullmatch(r"[eE]?(\d{1,2})(_\w+)?(\.py)?", re.split(r"[\\/]", text)[-1])
    exercise = catalogue().get(f"E{int(match[1]):02}") if match else None
    if exercise is None:
        last = list(catalogue())[-1]
        raise InputError(f"there is no exercise {text!r}; they are E00 to {last}")
    return exercise


def _change(path: Path, entry: dict[str, Any]) -> Change:
    if entry.keys() != {"name", "says", "edits"}:
        raise InputError(f"{path}: a mistake or variant has name, says and edits, not {[*entry]}")
    return Change(entry["name"], _plain(entry["says"]), tuple(map(tuple, entry["edits"])))


def _plain(value: Any) -> Any:
    """Lists as tuples, text without the lines' ends around it."""
    if isinstance(value, list):
        return tuple(map(_plain, value))
    return value.strip() if isinstance(value, str) else value

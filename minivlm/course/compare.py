"""Are two results of a case the same, and where do they first differ?"""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivlm.course.record import Case, Outputs

OUTSIDE = ("Forbidden", "TooLong", "Ended")  # kinds that are no exceptions of the student's code
WIDER = ": np.sqrt of a whole number and arrays that are made without a dtype are float64"
MOST_BYTES = 64 * 2**20  # of results, unpacked: no case comes near
FLOAT32 = 1e4  # how much wider the bound is for float32: 1e-9 becomes 1e-5


@dataclass(frozen=True)
class Failed:
    """A case that ended in an exception instead of outputs.

    Attributes:
        kind: the exception's class.
        message: what it says.
        place: "line 12: y = x.sum()", of the student's file; empty if it was raised elsewhere.
    """

    kind: str
    message: str
    place: str = ""

    def __str__(self) -> str:
        what = f"{self.kind}: {self.message}" if self.message else self.kind
        return f"{what}\n      at {self.place}" if self.place else what


Result = Outputs | Failed


@dataclass(frozen=True)
class Difference:
    """Where a result first differs from what was expected.

    Attributes:
        says: one sentence with the first wrong index, what was got and expected, and the errors.
        brief: the same without numbers that were expected, for who must not know them.
        output: the name of the array that differs, or empty.
    """

    says: str
    brief: str
    output: str = ""


def difference(got: Result, expected: Result, tolerance: float) -> Difference | None:
    """None where the results agree.

    Args:
        got: what the student's function gave.
        expected: what the library gives.
        tolerance: of float64, relative to the largest expected number; float32 has `FLOAT32` more.
    """
    if isinstance(got, Failed):
        same = isinstance(expected, Failed) and got.kind == expected.kind
        return None if same else Difference(_how(got), _how(got))
    if isinstance(expected, Failed):
        says = f"it should raise {expected.kind}, and does not"
        return Difference(f"{says} ({expected.message})", says)
    for name, right in expected.items():
        if name not in got:
            return Difference(f"{name} is missing", f"{name} is missing", name)
        if found := _differs(name, got[name], right, tolerance):
            return found
    return None


def _how(failed: Failed) -> str:
    """In what way a case came to no result."""
    if failed.kind == "LibrarysOwn":
        where = f" ({failed.place})" if failed.place else ""
        return f"it calls the library's own, whose body is gone while yours is tested{where}"
    if failed.kind in OUTSIDE:
        return failed.message
    return f"it raises {failed}"


def _differs(name: str, got: np.ndarray, right: np.ndarray, tolerance: float) -> Difference | None:
    for what, mine, theirs in (
        ("has shape", got.shape, right.shape),
        ("is of type", got.dtype, right.dtype),
    ):
        if mine != theirs:
            says = f"{name} {what} {mine}"
            why = WIDER if (mine, theirs) == (np.float64, np.float32) else ""
            return Difference(f"{says}, expected {theirs}{why}", f"{says}, not as asked{why}", name)
    if right.dtype.kind != "f":
        wrong = got != right
        errors = f"{int(wrong.sum())} of {right.size} differ"
    else:
        wrong, errors = _errors(got, right, tolerance)
    if not wrong.any():
        return None
    at = tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.ndim else ()
    index = f"[{', '.join(map(str, at))}]" if at else ""
    says = f"{name}{index} = {_number(got[at])}, expected {_number(right[at])}    ({errors})"
    return Difference(says, f"{name} is wrong    ({errors})", name)


def _errors(got: np.ndarray, right: np.ndarray, tolerance: float) -> tuple[np.ndarray, str]:
    """Which elements are wrong, and by how much at most."""
    bound = tolerance * (FLOAT32 if right.dtype == np.float32 else 1)
    with np.errstate(all="ignore"):
        finite = np.abs(right[np.isfinite(right)])
        largest = float(finite.max()) if finite.size else 0.0
        same = (got == right) | (np.isnan(got) & np.isnan(right))
        error = np.where(same, 0.0, np.abs(got.astype(np.float64) - right))
        wrong = ~(error <= bound * max(largest, 1e-3))  # a NaN is wrong, too
        worst = float(np.where(np.isnan(error), np.inf, error).max(initial=0))
    relative = worst / largest if largest else math.inf
    return wrong, (
        f"largest error {worst:.2g}, relative {relative:.2g}, bound {bound:.0e}, {right.dtype}"
    )


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, np.floating) else str(value)


def described(case: Case) -> str:
    """A call's inputs in one line: shapes of arrays, values of the rest."""
    words = []
    for name, value in case.items():
        if isinstance(value, np.ndarray):
            value = f"{value.shape}" + (" float32" if value.dtype == np.float32 else "")
        words.append(f"{name} {value}")
    return "  ".join(words)


def save(path: Path, results: list[Result]) -> None:
    """Write results so that another process can read them without trusting the writer."""
    arrays: dict[str, np.ndarray] = {}
    index: list[Any] = []
    for number, result in enumerate(results):
        if isinstance(result, Failed):
            index.append([result.kind, result.message, result.place])
        else:
            index.append(sorted(result))
            arrays |= {f"{number}/{name}": array for name, array in result.items()}
    arrays["index"] = np.frombuffer(json.dumps(index).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(path: Path, cases: int) -> list[Result]:
    """Read what `save` wrote.

    Raises:
        ValueError: it is not that.
    """
    with zipfile.ZipFile(path) as packed:
        size = sum(member.file_size for member in packed.infolist())
    if size > MOST_BYTES:
        raise ValueError(f"results of {size} bytes")
    with np.load(path, allow_pickle=False) as arrays:
        index = json.loads(arrays["index"].tobytes())
        results: list[Result] = []
        for number, entry in enumerate(index):
            prefix = f"{number}/"
            mine = {key[len(prefix) :]: arrays[key] for key in arrays if key.startswith(prefix)}
            failed = not mine and len(entry) == 3
            results.append(Failed(*map(str, entry)) if failed else mine)
    if len(results) != cases:
        raise ValueError(f"{len(results)} results of {cases}")
    return results

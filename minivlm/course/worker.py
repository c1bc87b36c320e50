"""The process in which a student's code runs: it computes, and another process compares.

    python -m minivlm.course.worker < job.json

The library's own body of what is being checked is not in this process; nor are expected results.
"""

from __future__ import annotations

import ast
import copy
import importlib
import json
import os
import sys
import traceback
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivlm.course import guard, overlay
from minivlm.course.compare import Failed, Result, save
from minivlm.course.record import Case, Outputs
from minivlm.course.source import Target, find, first_line, written

DRIVERS = "minivlm.course.exercises."


@dataclass(frozen=True)
class Job:
    """What a worker is to do.

    Attributes:
        stem: of the exercise, such as "e10_attention".
        targets: what it replaces.
        file: the student's.
        others: files of other exercises that are the student's, with their targets.
        seed: of the cases.
        results: the file to write.
        graded: True where the file may be unfriendly: no files, no network, no processes, and of
            the student's functions only this one.
        pdb: the number of the case to stop in, at a terminal; None for all cases and no stop.
        seconds: of CPU.
        megabytes: that the process may grow by; 0 for any.
        device: "cuda" to run kernels on a GPU, too.
    """

    stem: str
    targets: list[str]
    file: str
    others: dict[str, list[str]]
    seed: int
    results: str
    graded: bool = False
    pdb: int | None = None
    seconds: int = 20
    megabytes: int = 400
    device: str = "cpu"

    def text(self) -> str:
        """As it is sent to the worker."""
        return json.dumps(asdict(self))


def main() -> None:
    """Read a job, do it, write the results."""
    job = Job(**json.loads(sys.stdin.readline()))
    if job.pdb is not None:
        sys.stdin = open(os.devnull if os.name == "nt" else "/dev/tty")  # noqa: SIM115
    else:
        guard.limit(job.seconds, job.megabytes)
    warnings.simplefilter("ignore")
    save(Path(job.results), work(job))


def work(job: Job) -> list[Result]:
    """The results of all cases, with the student's functions in the library."""
    targets = [Target.parse(text) for text in job.targets]
    with overlay.without(targets):
        driver = importlib.import_module(DRIVERS + job.stem)
        for target in targets:
            importlib.import_module(target.module)
    if job.device != "cpu":
        importlib.import_module("minivlm.course.kernels").use(job.device)
    for file, names in job.others.items():
        theirs = [Target.parse(name) for name in names]
        if all(target.module in sys.modules for target in theirs):  # else nothing here calls them
            overlay.install(Path(file), theirs)
    cases = list(driver.cases(np.random.default_rng(job.seed)))
    if job.graded:
        guard.import_what_solutions_use()
        guard.forbid(allowed=(Path(job.file), Path(job.results)))
    try:
        overlay.install(Path(job.file), targets)
    except BaseException as error:  # SystemExit and pytest's Skipped, too: none passes
        return [_failed(error, job.file)] * len(cases)
    if job.pdb is not None:
        return [_stepped(driver, cases[job.pdb], job.file, targets)]
    return [_one(driver, case, job.file) for case in cases]


def run_case(driver: Any, case: Case) -> Outputs:
    """The outputs of one case; an input that came back changed is an output, too."""
    given = copy.deepcopy(case)
    with np.errstate(all="ignore"):
        outputs = {name: _array(name, value) for name, value in driver.run(given).items()}
    for name, before in case.items():
        if isinstance(before, np.ndarray) and not np.array_equal(before, given[name], True):
            raise ValueError(f"it changes its input {name}, which belongs to the caller")
    return outputs


def _array(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype == object:
        raise TypeError(f"{name} is {type(value).__name__}, not an array of numbers")
    return array


def _one(driver: Any, case: Case, file: str) -> Result:
    try:
        return run_case(driver, case)
    except BaseException as error:
        return _failed(error, file)


def _failed(error: BaseException, file: str) -> Failed:
    """The exception, with the innermost line of the student's that it passed."""
    place, innermost, function = "", "", ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        innermost, function = frame.f_code.co_filename, frame.f_code.co_name
        if innermost == file:
            place = f"line {line}"
    if isinstance(error, SyntaxError) and error.filename == file:
        place = f"line {error.lineno}"
    if isinstance(error, NotImplementedError):
        return Failed("NotWritten" if innermost == file else "LibrarysOwn", function, place)
    return Failed(type(error).__name__, str(error) or "without a message", place)


def _stepped(driver: Any, case: Case, file: str, targets: list[Target]) -> Result:
    """One case under a debugger, which stops at the first line of the student's function."""
    import pdb

    debugger = pdb.Pdb(nosigint=True, readrc=False, skip=["minivlm_kernels.stepper.*"])
    debugger.rcLines.append("continue")  # past the caller's lines, up to the function
    tree = ast.parse(Path(file).read_bytes())
    for target in targets:
        function = find(tree, target.path)
        kernel = target.module.startswith("minivlm_kernels")  # it stops in its first thread only
        function = written(function) if kernel else function
        line = function.lineno if kernel else first_line(function)
        debugger.set_break(file, line, temporary=kernel, funcname=function.name)
    try:
        outputs = debugger.runcall(run_case, driver, case)
        return outputs if outputs is not None else Failed("Ended", "the debugger was left")
    except BaseException as error:
        return _failed(error, file)


if __name__ == "__main__":
    main()

"""Start a worker, wait, and read what it computed; whatever it does, this process goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from minivlm.course import guard
from minivlm.course.compare import Failed, Result, load
from minivlm.course.record import Exercise
from minivlm.course.worker import Job

WALL = 3.0  # seconds of a clock for one second of CPU, on a busy machine
MEGABYTES = 400
KERNEL_MEGABYTES = 550  # of which Numba takes 330
TAIL = 2000  # characters of what a student's code printed


@dataclass(frozen=True)
class Answer:
    """What a worker gave.

    Attributes:
        results: one a case.
        printed: what the student's code wrote to the terminal.
    """

    results: list[Result]
    printed: str = ""


class Asked:
    """A worker that computes while one does something else."""

    def __init__(
        self,
        exercise: Exercise,
        file: Path,
        *,
        seed: int,
        others: dict[Path, tuple[str, ...]] | None = None,
        graded: bool = False,
        pdb: int | None = None,
        seconds: int = 20,
    ):
        """Start it.

        Args:
            exercise: what is checked.
            file: the student's.
            seed: of the cases.
            others: files of other exercises to put into the library, with their targets.
            graded: the file may be unfriendly.
            pdb: the number of a case: it stops in the student's function, at this terminal.
            seconds: of CPU.
        """
        self.room = tempfile.TemporaryDirectory(prefix="minivlm-course-")
        self.results = Path(self.room.name) / "results.npz"
        self.said = Path(self.room.name) / "said.txt"
        stepped = pdb is not None
        most = KERNEL_MEGABYTES if exercise.kernel else MEGABYTES
        asked = os.environ.get("MINIVLM_DEVICE", "cpu") if exercise.kernel else "cpu"
        device = "cpu" if graded else asked  # a driver of a GPU does what a graded file may not
        self.seconds = None if stepped else seconds
        job = Job(
            stem=exercise.stem,
            targets=list(exercise.targets),
            file=str(file),
            others={str(path): list(targets) for path, targets in (others or {}).items()},
            seed=seed,
            results=str(self.results),
            graded=graded,
            pdb=pdb,
            seconds=seconds,
            megabytes=most if device == "cpu" else 0,
            device=device,
        )
        with open(self.said, "wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "minivlm.course.worker"],
                stdin=subprocess.PIPE,
                stdout=None if stepped else said,
                stderr=None if stepped else said,
                env=environment(),
                start_new_session=not stepped,
                text=True,
                encoding="utf-8",
            )
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(job.text() + "\n")
            self.process.stdin.close()

    def answer(self, cases: int) -> Answer:
        """Wait for it; every case has a result, if only one that says how the process ended."""
        try:
            return self._answer(cases)
        finally:
            self.stop()

    def stop(self) -> None:
        """End it and everything that it started; remove its files."""
        end(self.process, group=self.seconds is not None)
        self.room.cleanup()

    def _answer(self, cases: int) -> Answer:
        try:
            status = self.process.wait(self.seconds and self.seconds * WALL)
        except subprocess.TimeoutExpired:
            return Answer([self._too_long()] * cases, self._printed())
        printed = self._printed()
        if status == guard.FORBIDDEN:
            return Answer([Failed("Forbidden", printed.strip().splitlines()[-1])] * cases, printed)
        if status in (-getattr(signal, "SIGXCPU", 0), -getattr(signal, "SIGKILL", 0)) and status:
            return Answer([self._too_long()] * cases, printed)
        try:
            return Answer(load(self.results, cases), printed)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            how = f"with status {status}" if status >= 0 else f"by signal {-status}"
            message = f"your code ended the process {how} before the check was done"
            return Answer([Failed("Ended", message)] * cases, printed)

    def _too_long(self) -> Failed:
        return Failed(
            "TooLong", f"after {self.seconds} seconds it had not finished; does a loop never end?"
        )

    def _printed(self) -> str:
        with open(self.said, "rb") as said:
            said.seek(max(0, self.said.stat().st_size - TAIL))
            return said.read().decode("utf-8", "replace")


def end(process: subprocess.Popen, group: bool) -> None:
    """End a process that may have ended already.

    Args:
        process: what this one has started.
        group: it has a session of its own, and whatever it started ends with it.
    """
    if process.poll() is None:
        if group and hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


def environment() -> dict[str, str]:
    """The same for each worker: one thread of BLAS, and the library that this process uses."""
    root = Path(__file__).parents[2]
    paths = [str(root), str(root / "kernels"), os.environ.get("PYTHONPATH", "")]
    threads = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return (
        os.environ
        | dict.fromkeys(threads, "1")
        | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        }
    )

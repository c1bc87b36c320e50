"""The process in which a milestone's model trains, with the student's functions in the library."""

from __future__ import annotations

import importlib
import json
import linecache
import os
import sys
import traceback
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread

import numpy as np

from minivlm.course import milestones, overlay
from minivlm.course.record import catalogue, count_functions
from minivlm.errors import InputError
from minivlm.train.loop import Diverged

REACHED, NOT_REACHED, BAD_INPUT = 0, 1, 2
SEED = 0
MOST_NAMED = 6  # exercises in the first line
MOST_LINES = 4  # of the student's, where an exception is told


@dataclass(frozen=True)
class Job:
    """What a worker is to do.

    Attributes:
        id: of the milestone.
        folder: the student's.
        yours: files whose functions are to replace the library's, by exercise.
        variants: exercises that have passed as something else than the library's function, which
            the model cannot use.
    """

    id: str
    folder: str
    yours: dict[str, str]
    variants: list[str]

    def text(self) -> str:
        """As it is sent to the worker."""
        return json.dumps(asdict(self))


def main() -> int:
    """Read a job and do it; the exit status."""
    job = Job(**json.loads(sys.stdin.readline()))
    _end_with_parent()
    warnings.simplefilter("ignore")
    try:
        return work(job)
    except (BrokenPipeError, KeyboardInterrupt):
        return NOT_REACHED
    except InputError as error:
        print(f"{job.id}: {error}")
        return BAD_INPUT
    except OSError as error:
        print(f"{job.id}: {error.filename or 'a file'}: {error.strerror or error}")
        return BAD_INPUT
    except Diverged as error:
        print(f"The training diverged: {error}\n{job.id} is not reached.")
        return NOT_REACHED
    except BaseException as error:  # SystemExit, too: the student's file may have asked for it
        if not job.yours:
            raise
        print(_told(error, job))
        return NOT_REACHED


def work(job: Job) -> int:
    """Put the functions in, run the milestone."""
    milestone = milestones.load(job.id)
    print(f"{job.id}: {whose(milestone.AFTER, list(job.yours), job.variants)}")
    install(job.yours)
    pictures = Path(job.folder) / "pictures"
    pictures.mkdir(exist_ok=True)
    picture = pictures / f"{job.id}.png"
    picture.unlink(missing_ok=True)
    with np.errstate(all="ignore"):
        reached = milestone.run(pictures, print, np.random.default_rng(SEED))
    print(f"{job.id} is {'reached' if reached else 'not reached'}.", end="")
    print(f" The picture: {picture}" if picture.exists() else "")
    return REACHED if reached else NOT_REACHED


def install(yours: dict[str, str]) -> None:
    """Let the functions in a student's files replace the library's, wherever it is imported.

    Args:
        yours: files by exercise.
    """
    for id in yours:
        for target in catalogue()[id].functions:
            importlib.import_module(target.module)
    for id, file in yours.items():
        overlay.install(Path(file), catalogue()[id].functions)


def whose(after: str, yours: list[str], variants: list[str]) -> str:
    """How many functions of the parts up to one are the student's, and which are not."""
    needed = [exercise for exercise in catalogue().values() if exercise.part <= after]
    missing = [exercise for exercise in needed if exercise.id not in yours]
    total, lacking = count_functions(needed), count_functions(missing)
    parts = sorted({exercise.part for exercise in needed})
    middle = " and " if len(parts) == 2 else " to "
    where = f"part {after}" if len(parts) == 1 else f"parts {parts[0]}{middle}{parts[-1]}"
    if not missing:
        return f"all {total} functions of {where} are yours"
    if lacking == total:
        return f"none of the {total} functions of {where} is yours; all are the library's"
    told = f"{total - lacking} of the {total} functions of {where} are yours"
    if len(missing) > MOST_NAMED:
        return f"{told}, the other {lacking} the library's"
    names = [e.id + (" (yours is a variant)" if e.id in variants else "") for e in missing]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{told}; {listed} {'is' if len(names) == 1 else 'are'} the library's"


def _told(error: BaseException, job: Job) -> str:
    """An exception by the lines of the student's that it passed, without those of the library."""
    notes = getattr(error, "__notes__", [])  # such as which thread of a kernel it was
    what = "\n  ".join([f"{type(error).__name__}: {error}".rstrip(": "), *notes])
    files = {file: id for id, file in job.yours.items()}
    places = [
        (frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno or 0))
    told = [
        f"your {files[file]}: {Path(file).name}, line {line}\n"
        f"    {linecache.getline(file, line).strip()}\n"
        for file, line in places
        if file in files
    ]
    if told:
        return f"{job.id} stopped in {'  which called '.join(told[-MOST_LINES:])}  {what}"
    library = Path(__file__).parents[1]
    file, line = [p for p in places if Path(p[0]).is_relative_to(library)][-1]
    return (
        f"{job.id} stopped in the library, at {Path(file).relative_to(library.parent)}, line "
        f"{line}\n  {what}\n  One of your functions has given it what it cannot use."
    )


def _end_with_parent() -> None:
    """End this process when the pipe from the one that started it closes."""
    pipe = os.dup(sys.stdin.fileno())
    sys.stdin = open(os.devnull)  # noqa: SIM115

    def wait() -> None:
        os.read(pipe, 1)
        os._exit(NOT_REACHED)

    Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())

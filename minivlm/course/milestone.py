"""A milestone is started: a model trains in another process, on the functions that are written."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

from minivlm.course import milestones
from minivlm.course.ask import end, environment
from minivlm.course.folder import Folder
from minivlm.course.milestone_worker import Job
from minivlm.course.record import require_kernels

LAST = "M5"  # the one in which the student's kernels run


def run(folder: Folder, id: str) -> int:
    """Train a milestone's model with the student's functions in it; what happens is printed.

    Args:
        folder: the student's. The picture goes into `pictures` in it.
        id: such as "M2".

    Returns:
        0 if it reached what it promises, 1 if not or if a function failed, 2 for bad input.

    Raises:
        InputError: there is no such milestone, or it needs packages that are missing.
        KeyboardInterrupt: the user's, after the other process has ended.
    """
    id = milestones.find(id)
    if id == LAST:
        require_kernels(id)
    job = job_for(folder, id)
    process = subprocess.Popen(
        [sys.executable, "-m", "minivlm.course.milestone_worker"],
        stdin=subprocess.PIPE,
        env=environment() | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": ":backslashreplace"},
        start_new_session=True,  # Ctrl-C is for this process, which then ends that one
        text=True,
        encoding="utf-8",
    )
    assert process.stdin is not None
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(job.text() + "\n")
            process.stdin.flush()  # and stays open: when it closes, this process is gone
        status = process.wait()
    finally:
        end(process, group=True)
        with suppress(BrokenPipeError):
            process.stdin.close()
    if status < 0:
        print(f"{job.id} was ended by signal {-status}", flush=True)
        return 1
    return status


def job_for(folder: Folder, id: str) -> Job:
    """What there is to do, with all that has passed in the folder."""
    solved = [exercise for exercise in folder.solved() if id == LAST or not exercise.kernel]
    variants = [exercise.id for exercise in solved if folder.variant(exercise) is not None]
    yours = {e.id: str(folder.file(e)) for e in solved if e.id not in variants}
    return Job(id, str(folder.path.resolve()), yours, variants)

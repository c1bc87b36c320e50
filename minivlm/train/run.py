"""A run folder belongs to one process at a time, and an interrupt waits for the step's end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from minivlm.errors import InputError
from minivlm.files import PARTS

LOCK = ".lock"


class Interrupted(Exception):
    """Training stopped at the user's wish; the checkpoint is written."""


@contextmanager
def run_folder(folder: Path) -> Iterator[Path]:
    """Make the folder if need be, and hold it for this process alone.

    The lock is the operating system's, on an open file: it ends with the process, however that
    ends, so a killed run leaves no lock behind. A folder in which nothing was written is removed.

    Raises:
        InputError: the path is no folder, cannot be written, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a+b")  # noqa: SIM115, closed below
    except OSError as error:
        raise InputError(f"{folder}: cannot be a run folder: {error.strerror or error}") from None
    with file:
        if not _lock(file):
            raise InputError(f"{folder}: in use by another minivlm process")
        for unfinished in folder.glob(PARTS):  # of a process that was killed while it wrote
            unfinished.unlink()
        try:
            yield folder
        finally:
            if os.listdir(folder) == [LOCK]:
                with suppress(OSError):  # Windows removes no open file; both may stay
                    (folder / LOCK).unlink()
                    folder.rmdir()


def _lock(file: IO[bytes]) -> bool:
    """Take the lock on an open file, without waiting; whether it was free.

    A holder that wrote nothing removes the file as it leaves: a lock on that file would keep no
    one out of the next, so it counts as taken.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
    except (BlockingIOError, PermissionError, FileNotFoundError):
        return False
    except OSError as error:
        raise InputError(f"{file.name}: cannot be locked: {error.strerror or error}") from None


class Stop:
    """Whether the user has asked to stop."""

    requested = False


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """Inside this block the first Ctrl-C only sets `requested`; a second one interrupts at once.

    Outside the main thread, where no signals arrive, nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_interrupt(number: int, frame: object) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)

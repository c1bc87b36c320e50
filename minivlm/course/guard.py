"""What a graded file may not do: read the library, write, start processes, use the network.

An audit hook sees each attempt before it happens, and cannot be taken back by Python code. It ends
the process at once, so that nobody can catch an exception and try another way; the exit status says
why. This stops what a student would think of, not someone who attacks the machine: an instructor
who grades strangers runs the grader in a container, as Gradescope does.

Source: PEP 578, https://peps.python.org/pep-0578/.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FORBIDDEN = 77  # exit status of a process that did what it may not
FORBIDDEN_EVENTS = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.kill",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.truncate",
    "os.listdir",
    "os.scandir",
    "os.putenv",
    "shutil.",
    "ctypes.",
    "mmap.",
    "sys._current_frames",
    "sys.addaudithook",
    "urllib.",
    "webbrowser.",
    "winreg.",
)
IMPORTS_SEARCH = ("os.listdir", "os.scandir")  # which Python's import system needs, too
NEVER = ("torch", "cupy", "jax", "tensorflow", "transformers", "minivlm", "minivlm_kernels")
SOLUTIONS_USE = ("minivlm.ops", "minivlm.nn", "minivlm.models", "minivlm.data", "minivlm.evaluate")


def limit(seconds: int, megabytes: int) -> None:
    """Limits that the system holds this process to, where it can.

    Args:
        seconds: of CPU, in all.
        megabytes: more memory than there is now, 0 for any; and 64 of them a file.
    """
    try:
        import resource
    except ImportError:  # Windows: the one who waits has a clock
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 2**20, 64 * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and megabytes:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def import_what_solutions_use() -> None:
    """Import the library's parts now: later its files cannot be read."""
    for name in SOLUTIONS_USE:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{name}.{module.name}")


def forbid(allowed: Sequence[Path]) -> None:
    """From here on, for as long as the process lives.

    Args:
        allowed: files that may be opened although they are in a place that is closed.
    """
    files = {os.path.realpath(path) for path in allowed}
    closed = tuple(os.path.realpath(path) + os.sep for path in _closed_folders())
    open_folders = tuple({os.path.realpath(path) + os.sep for path in _open_folders()})

    def may_open(path: Any, mode: Any, flags: Any) -> bool:
        if isinstance(path, int):
            return True  # a file that is open already
        real = os.path.realpath(os.fsdecode(path))
        if real in files or real == os.devnull:
            return True
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return not writes and real.startswith(open_folders) and not real.startswith(closed)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not may_open(*arguments):
                _stop(f"it opens {os.fsdecode(arguments[0])}")
        elif event == "import":
            package = str(arguments[0]).partition(".")[0]
            if package in NEVER:
                _stop(f"it imports {arguments[0]}")
        elif event.startswith(FORBIDDEN_EVENTS) and not (
            event in IMPORTS_SEARCH and _importing(arguments, open_folders)
        ):
            _stop(f"it uses {event}")

    sys.addaudithook(hook)


def _importing(arguments: tuple[Any, ...], open_folders: tuple[str, ...]) -> bool:
    path = os.path.realpath(os.fsdecode(arguments[0])) if arguments and arguments[0] else ""
    return (path + os.sep).startswith(open_folders)


def _stop(why: str) -> None:
    os.write(2, f"\n{why}, which no solution needs\n".encode())
    os._exit(FORBIDDEN)


def _closed_folders() -> list[Path]:
    """Where the library lies: minivlm, and the kernels that are installed beside it."""
    package = Path(__file__).parents[1]
    return [package, package.parent / "kernels", package.parent / "minivlm_kernels"]


def _open_folders() -> list[str]:
    """Where Python and other packages are read from."""
    import sysconfig

    paths = sysconfig.get_paths()
    base = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [*base, *(path for path in sys.path if path.endswith(("-packages", "lib-dynload")))]

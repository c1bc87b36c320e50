"""What a process holds of the machine's memory, and one setting of the allocator."""

import ctypes
import sys
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Ask glibc to keep freed blocks for the next array, rather than return each to the system.

    A training step makes and drops arrays of megabytes all the time; getting each anew from the
    system, page by page, was measured to cost more than filling it. Elsewhere than on Linux this
    does nothing.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl has none
            libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
            libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def resident_memory() -> int:
    """Bytes of this process in memory now; on systems without /proc, the most there ever were."""
    import resource  # not on Windows, where nothing but a benchmark asks

    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_memory()
    return int(statm.read_text().split()[1]) * resource.getpagesize()


def peak_memory() -> int:
    """The most bytes of this process that were in memory at once.

    Linux keeps it in /proc. Its other figure, getrusage's, a child process takes over from its
    parent, which may have been larger.
    """
    import resource

    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024  # kilobytes
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024

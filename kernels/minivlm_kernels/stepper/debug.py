"""pdb, in one thread of a kernel."""

from __future__ import annotations

import pdb
from types import FrameType

from minivlm_kernels.stepper.places import Moment, Thread, three

OURS = ["minivlm_kernels.stepper.*", "namedtuple_*"]  # modules that no one wants to step through


class Debugger:
    """Stops at the first line of one thread, in each launch that has such a thread."""

    def __init__(self, at: Thread):
        self.at = Thread(three(at.block, 0), three(at.thread, 0))
        self._met = False
        self._pdb = _Pdb(skip=OURS, nosigint=True)

    def look(self, moment: Moment, frame: FrameType) -> None:
        """Stop at the next line of the frame if this is the thread."""
        if (moment.block, moment.thread) == self.at:
            self._met = True
            self._pdb.set_trace(frame)

    def check(self) -> None:
        """Complain if no launch had the thread."""
        if not self._met:
            raise ValueError(
                f"pdb was to stop in thread {self.at.thread} of block {self.at.block}, and no "
                f"launch had one"
            )


class _Pdb(pdb.Pdb):
    def set_stepinstr(self) -> None:
        """From Python 3.13 on, `set_trace` would stop before the next line, on that of `def`."""
        self.set_step()

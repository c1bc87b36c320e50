"""Numba's simulator, where two threads of a block may each get a shared array of their own.

`cuda.shared.array` looks whether an earlier thread made the array, and makes it if not, without a
lock in between: about once in 10,000 arrays, two threads make it, and the block falls apart.
"""

import sys
import threading
from contextlib import contextmanager

import numpy as np

from tests.kernels.conftest import ON_GPU


@contextmanager
def shared_arrays_made_once():
    """Within, the first thread of a block makes a shared array, full of NaN; the others find it.

    On a GPU nothing changes.
    """
    if ON_GPU:
        yield
        return
    from numba.cuda.np.numpy_support import as_dtype  # pyright: ignore[reportMissingImports]
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    lock = threading.Lock()

    def array(self, shape, dtype):
        frame = sys._getframe(1)
        line = frame.f_code.co_filename, frame.f_lineno  # which names an array, for the simulator
        with lock:
            if line not in self._allocations:
                made = np.empty(shape, as_dtype(dtype))
                if made.dtype.kind == "f":
                    made[...] = np.nan
                self._allocations[line] = made
            return self._allocations[line]

    theirs = FakeCUDAShared.array
    FakeCUDAShared.array = array
    try:
        yield
    finally:
        FakeCUDAShared.array = theirs

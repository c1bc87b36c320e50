"""A kernel's faults and Ctrl-C end its launch alone; whatever else happens is left as it was."""

import ctypes
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.faults import floats, i32, needs_gplusplus, run, sentence

pytestmark = needs_gplusplus

ROOT = Path(__file__).parents[2]


@contextmanager
def handling_ctrl_c(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_kernel():
    y = floats(1, 0)
    with handling_ctrl_c(signal.default_int_handler), pytest.raises(KeyboardInterrupt):
        run("is_interrupted", y)
    assert y[0] == 0


def test_who_handles_ctrl_c_in_a_way_of_their_own_goes_on_to_do_so():
    y, pressed = floats(1, 0), []
    with handling_ctrl_c(lambda *_: pressed.append("^C")):
        run("is_interrupted", y, threads=1)
    assert (y[0], pressed) == (1, ["^C"])


def test_signals_go_where_they_went_before():
    """Also after a fault."""
    sigaction = ctypes.CDLL(None).sigaction
    numbers = signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGINT

    def handlers():
        found = [ctypes.create_string_buffer(256) for _ in numbers]
        for number, action in zip(numbers, found, strict=True):
            assert sigaction(int(number), None, action) == 0
        return found

    def functions():
        return [action.raw[:8] for action in handlers()]

    before = handlers()
    try:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        defaults = functions()
        sentence("writes", floats(4), *i32(4))
        assert functions() == defaults
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ours = functions()
        run("writes", floats(4), *i32(3))
        assert functions() == ours != defaults
    finally:
        for number, action in zip(numbers, before, strict=True):
            sigaction(int(number), action, None)


CRASH = """
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no file is left behind
from tests.kernels.faults import floats, run
try:
    run("someone_else_crashes", floats(1))
finally:
    print("survived")
"""


def test_a_crash_that_is_not_a_kernels_is_left_alone():
    command = [sys.executable, "-c", CRASH]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (-signal.SIGSEGV, "")


def test_threads_of_python_launch_one_after_another():
    """A library has one set of fibers."""
    x = np.arange(64, dtype=np.float32)
    outputs = [floats(64) for _ in range(8)]

    def work(y):
        for _ in range(20):
            run("reverse", x, y, *i32(64), threads=64)

    threads = [threading.Thread(target=work, args=(y,)) for y in outputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(outputs, [x[::-1]] * 8)

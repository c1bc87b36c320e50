"""Debuggers walk through kernels in the stepper, as a user's own script would."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minivlm_kernels import stepper
from minivlm_kernels.stepper import Thread, step

REPOSITORY = Path(__file__).parents[2]
KERNEL = """
import numpy as np
from numba import cuda, float32
from minivlm_kernels import stepper
from minivlm_kernels.launch import launch

def make(size):
    @cuda.jit
    def neighbours(x, out):
        "Each thread reads what its neighbour wrote."
        s = cuda.shared.array(size, float32)
        t = cuda.threadIdx.x
        if x[t] == 102:
            breakpoint()
        s[t] = x[t] * size
        cuda.syncthreads()
        u = (t + 1) % size
        out[t] = s[u]

    return neighbours

def run(start=0, **options):
    x, out = np.arange(4, dtype=np.float32) + np.float32(start), np.zeros(8, np.float32)
    with stepper.watch(**options) as log:
        launch(make(4), (1,), (4,), x, out[:4])
        launch(make(4), (1,), (4,), x, out[4:])
    print("result", out[:4], "reads of s", log.launches[0].arrays["s"].reads)

"""
RESULT = "result [ 4.  8. 12.  0.] reads of s 4"


def script(tmp_path, text, *commands, debugger=(), simulator="1"):
    """What a script prints, and pdb for these commands."""
    path = tmp_path / "script.py"
    path.write_text(text, encoding="utf-8")
    paths = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "kernels")))
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_ENABLE_CUDASIM": simulator}
    environment.pop("PYTHONBREAKPOINT", None)
    done = subprocess.run(
        [sys.executable, *debugger, str(path)],
        input="".join(f"{command}\n" for command in commands),
        text=True,
        capture_output=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("\n", " ")


def line(code):
    (number,) = (n for n, text in enumerate(KERNEL.splitlines(), 1) if code in text)
    return number


def test_pdb_stops_at_the_first_line_of_the_chosen_thread(tmp_path):
    at = "stepper.Thread(block=(0, 0, 0), thread=(3, 0, 0))"
    first = line("s = cuda.shared")
    commands = ["l", "n", "n", "p t, size", "p cuda.threadIdx", "w", "c", "c"]
    shown = script(tmp_path, f"{KERNEL}run(pdb_at={at})", *commands)
    assert f"script.py({first})neighbours() -> s = cuda.shared.array(size, float32)" in shown
    assert f"{first}  ->\t        s = cuda.shared.array(size, float32)" in shown  # by l
    assert f"{first + 2}  \t        if x[t] == 102:" in shown
    assert "(Pdb) (3, 4)" in shown
    assert "(Pdb) Dim(x=3, y=0, z=0)" in shown
    assert "run() -> launch(make(4), (1,), (4,), x, out[:4])" in shown  # by w
    assert shown.count(f"script.py({first})neighbours()") == 2  # once a launch
    assert RESULT in shown


def test_next_stays_in_the_thread_across_a_barrier_and_looking_is_no_reading(tmp_path):
    at = "stepper.Thread(block=0, thread=1)"
    barrier, after = line("cuda.syncthreads()"), line("u = (t + 1)")
    commands = [f"tbreak {barrier}", "c", "n", "p t", "p s", "p s[0], s[1], x[2]", "s[1] = 7", "c"]
    shown = script(tmp_path, f"{KERNEL}run(pdb_at={at})", *commands, "c")
    assert f"script.py({after})neighbours() -> u = (t + 1) % size (Pdb) 1" in shown
    assert "(Pdb) shared array s, float32 (4,) [ 0.  4.  8. 12.]" in shown
    assert "(Pdb) (np.float32(0.0), np.float32(4.0), np.float32(2.0))" in shown
    assert "result [ 4.  8. 12.  0.] reads of s 4" in shown  # thread 0 had read s[1] before


def test_step_at_a_barrier_goes_to_the_next_thread(tmp_path):
    at = "stepper.Thread(0, 1)"
    commands = [f"tbreak {line('cuda.syncthreads()')}", "c", "s", "s", "p cuda.threadIdx", "c"]
    shown = script(tmp_path, f"{KERNEL}run(pdb_at={at})", *commands, "c")
    assert "-> def neighbours(x, out): (Pdb) Dim(x=2, y=0, z=0)" in shown


def test_a_breakpoint_in_a_kernel_stops_there(tmp_path):
    shown = script(tmp_path, f"{KERNEL}run(start=100)", "p t", "n", "c", "c")
    assert f"script.py({line('s[t] = x[t]')})neighbours() -> s[t] = x[t] * size" in shown
    assert "(Pdb) 2" in shown


def test_a_breakpoint_from_outside_stops_too(tmp_path):
    here = line("out[t] = s[u]")
    commands = [f"b {here}, t == 2", "c", "p u", "cl 1", "c", "q"]
    shown = script(tmp_path, f"{KERNEL}run()", *commands, debugger=("-m", "pdb"))
    assert f"script.py({here})neighbours() -> out[t] = s[u] (Pdb) 3" in shown
    assert RESULT in shown


def kernel(x):
    x[0] = 1


def test_a_thread_that_no_launch_has_is_told():
    with pytest.raises(ValueError, match=r"stop in thread \(2, 0, 0\) of block \(0, 0, 0\), and"):
        step(kernel, 1, 1, np.zeros(1), pdb_at=Thread(block=0, thread=(2, 0)))
    with pytest.raises(stepper.OutOfBounds):
        step(kernel, 1, 1, np.zeros(0), pdb_at=Thread(block=1, thread=0))


WITHOUT_SIMULATOR = """
import numpy as np
from numba import cuda
from minivlm_kernels.stepper import step

@cuda.jit(device=True, fastmath=True)
def meet(s, i):
    cuda.syncthreads()
    return s[i]

@cuda.jit(fastmath=True)
def kernel(out):
    s = cuda.shared.array(2, np.int64)
    s[cuda.threadIdx.x] = cuda.threadIdx.x
    out[cuda.threadIdx.x] = meet(s, 1 - cuda.threadIdx.x)

out = np.zeros(2)
step(kernel, 1, 2, out)
print(type(kernel).__name__, out)
"""


def test_neither_a_gpu_nor_the_simulator_is_needed(tmp_path):
    assert script(tmp_path, WITHOUT_SIMULATOR, simulator="0") == "CUDADispatcher [1. 0.] "

"""Each barrier of rungs A5 to A8, and each wait for copies, is needed: without it, a test fails.

A copy of the file asks before each of them whether it is the one that is missing this time, so
that one compilation does for all.
"""

import re
import shutil

import pytest

from minivlm_kernels.attention import cuda
from minivlm_kernels.cuda import cpu
from tests.kernels.cuda_attention import (
    A5,
    A6,
    A7,
    A8,
    SCHEDULES,
    check_backward,
    check_forward,
    compile_side_by_side,
    on_the_cpu,
    runs_cuda,
    some,
)

pytestmark = [runs_cuda, on_the_cpu]

C = 32
RUNGS = {"REGISTER_TILES": A5, "TENSOR_CORES": A6, "PIPELINED": A7, "BACKWARD": A8}
BARRIER = re.compile(r"(__syncthreads|__syncwarp|cp_async_commit|cp_async_wait<0>)\(\);")
EXPECTED = {"REGISTER_TILES": 4, "TENSOR_CORES": 3, "PIPELINED": 4, "BACKWARD": 7}
PRELUDE = """#include <cstdlib>
static bool kept(int barrier) { return atoi(getenv("WITHOUT_BARRIER")) != barrier; }
"""


def rewritten(text):
    """The text of a rung, barrier n behind `if (kept(n))`, and how many there are."""
    count = 0

    def ask(match):
        nonlocal count
        count += 1
        return f"if (kept({count - 1})) {match[0]}"

    return PRELUDE + BARRIER.sub(ask, text), count


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The rewritten files, compiled, by the name of the constant that names the rung's."""
    folder = tmp_path_factory.mktemp("barriers")
    for header in cuda.HERE.glob("*.cuh"):
        shutil.copy(header, folder)
    made = {}
    for name in RUNGS:
        made[name] = folder / getattr(cuda, name).name
        text, count = rewritten(getattr(cuda, name).read_text("utf-8"))
        assert count == EXPECTED[name]
        made[name].write_text(text, "utf-8")
    compile_side_by_side(*((path, C) for path in made.values()))
    return made


def is_right(name):
    """Whether the rung gives the right numbers, in every schedule."""
    rung = RUNGS[name]
    q, k, v, do = some(rung, H=2, T=150, S=200, C=C)
    try:
        for order in SCHEDULES:
            with cpu.schedule(order):
                if rung is A8:
                    check_backward(q, k, v, do, causal=True)
                else:
                    check_forward(rung, q, k, v, causal=True)
    except (AssertionError, cpu.KernelError):
        return False
    return True


@pytest.mark.parametrize("name", RUNGS)
def test_with_all_barriers_a_rung_is_right(name, files, monkeypatch):
    monkeypatch.setattr(cuda, name, files[name])
    monkeypatch.setenv("WITHOUT_BARRIER", "-1")
    assert is_right(name)


@pytest.mark.parametrize(
    ("name", "barrier"), [(name, n) for name, count in EXPECTED.items() for n in range(count)]
)
def test_without_one_of_its_barriers_a_rung_is_wrong(name, barrier, files, monkeypatch):
    monkeypatch.setattr(cuda, name, files[name])
    monkeypatch.setenv("WITHOUT_BARRIER", str(barrier))
    assert not is_right(name)

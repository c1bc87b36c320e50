import inspect
import sys

import numpy as np
import pytest

from tests.kernels.barriers import barriers, module_without

RUNG = '''"""A rung: its cuda.syncthreads() is a word here."""

import math  # cuda.syncthreads()


def kernel(cuda):
    cuda.syncthreads()  # all are here
    for _ in range(2):
        cuda.syncthreads()
    return math.pi
'''


class Cuda:
    calls = 0

    def syncthreads(self):
        self.calls += 1


@pytest.fixture
def rung(tmp_path):
    path = tmp_path / "rung.py"
    path.write_text(RUNG, "utf-8")
    return path


def test_barriers_are_found_where_code_waits(rung):
    assert barriers(rung) == [7, 9]


@pytest.mark.parametrize(("line", "calls"), [(7, 2), (9, 1)])
def test_one_barrier_is_gone_and_all_else_stays(rung, line, calls):
    before = set(sys.modules)
    module = module_without(rung, line)
    cuda = Cuda()
    assert module.kernel(cuda) == np.pi
    assert cuda.calls == calls
    assert set(sys.modules) == before
    assert rung.read_text("utf-8") == RUNG


def test_the_source_is_found_under_the_rungs_name_and_lines(rung):
    modules = [module_without(rung, line) for line in (9, 7)]
    assert all(module.__file__.endswith("/rung.py") for module in modules)
    for module, gone in zip(modules, (9, 7), strict=True):
        lines, first = inspect.getsourcelines(module.kernel)
        assert first == 6
        assert lines[gone - first].strip().startswith("pass")


def test_a_line_without_a_barrier_is_refused(rung):
    with pytest.raises(ValueError, match=r"rung\.py:8 is no cuda\.syncthreads"):
        module_without(rung, 8)

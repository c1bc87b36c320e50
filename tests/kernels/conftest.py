"""Kernels run on the CPU here: Numba's simulator, and g++. MINIVLM_DEVICE=cuda takes a GPU."""

import importlib.util
import os
import sys

import pytest

if importlib.util.find_spec("torch") is None:  # what the benchmark measures against
    collect_ignore_glob = ["test_bench*.py"]

ON_GPU = os.environ.get("MINIVLM_DEVICE") == "cuda"
if not ON_GPU:
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # read once, when numba is first imported


@pytest.fixture(autouse=True, scope="package")
def _simulator_made_fit():
    """Its threads wait by polling, and at the usual 5 ms a switch they would crawl."""
    from tests.kernels.simulator import shared_arrays_made_once

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    with shared_arrays_made_once():
        yield
    sys.setswitchinterval(before)

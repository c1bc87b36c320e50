"""Kernels run on the CPU here: Numba's simulator, and g++. MINIVLM_DEVICE=cuda takes a GPU."""

import os
import sys

import pytest

ON_GPU = os.environ.get("MINIVLM_DEVICE") == "cuda"
if not ON_GPU:
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # read once, when numba is first imported


@pytest.fixture(autouse=True, scope="package")
def _quick_switches():
    """The simulator's threads wait by polling; at the usual 5 ms a switch they would crawl."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)

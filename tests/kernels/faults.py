"""Kernels that do what no kernel may do (sources/faults.cu), and what the executor says of them."""

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from minivlm_kernels.cuda.cpu import CpuKernels, KernelError

SOURCE = Path(__file__).parent / "sources" / "faults.cu"
TEXT = SOURCE.read_text(encoding="utf-8").splitlines()

needs_gplusplus = pytest.mark.skipif(shutil.which("g++") is None, reason="the executor needs g++")


@cache
def compiled():
    return CpuKernels(SOURCE, {})


def place(kernel, words, skip=0):
    """Such as faults.cu:12, a line of a kernel that holds the words: the first, or after some."""
    start = next(i for i, line in enumerate(TEXT) if f" {kernel}(" in line)
    found = [i + 1 for i, line in enumerate(TEXT) if i >= start and words in line]
    return f"faults.cu:{found[skip]}"


def floats(n, value=np.nan):
    return np.full(n, value, np.float32)


def i32(*numbers):
    return tuple(np.int32(number) for number in numbers)


def run(name, *arguments, threads=32, shared=16):
    compiled().launch(name, (1,), (threads,), arguments, shared_bytes=shared)


def sentence(name, *arguments, **how):
    """What the executor says of a launch, less what all sentences begin with."""
    with pytest.raises(KernelError) as told:
        run(name, *arguments, **how)
    start = f"faults.cu: {name}, block (0, 0, 0): "
    assert str(told.value).startswith(start)
    return str(told.value).removeprefix(start)

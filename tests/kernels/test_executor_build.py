"""How `.cu` files are read and compiled for the CPU, and kept."""

import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from minivlm.errors import InputError
from minivlm_kernels.arrays import BF16
from minivlm_kernels.cuda import gplusplus
from minivlm_kernels.cuda.cpu import CpuKernels, KernelError
from minivlm_kernels.cuda.declared import Kernel, Parameter, declared
from minivlm_kernels.cuda.gplusplus import cache_folder
from tests.kernels.faults import needs_gplusplus

pytestmark = needs_gplusplus

SOURCE = Path(__file__).parent / "sources" / "warps.cu"
FILL = '#include "value.cuh"\nextern "C" __global__ void fill(int* y) {\n  y[0] = VALUE;\n}\n'


@pytest.fixture
def fill(tmp_path, monkeypatch):
    """A small file that includes another one, in a folder with a space; nothing is compiled yet."""
    executors = list(cache_folder().glob("executor-*.o"))  # but the executor, to save time
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "my cache"))
    for path in executors:
        shutil.copy(path, cache_folder())
    folder = tmp_path / "my kernels"
    folder.mkdir()
    (folder / "value.cuh").write_text("#define VALUE (7 + MORE)\n")
    (folder / "fill.cu").write_text(FILL)
    return folder / "fill.cu"


def value(source, **defines):
    y = np.zeros(1, np.int32)
    CpuKernels(source, defines).launch("fill", (1,), (1,), (y,))
    return y[0]


def libraries():
    return {path: path.stat().st_mtime_ns for path in cache_folder().glob("*.so")}


def test_a_file_is_compiled_once_for_each_text_and_macro(fill, monkeypatch):
    monkeypatch.chdir(fill.parent)
    assert value(Path("fill.cu"), MORE=1) == 8
    once = libraries()
    assert value(fill, MORE=1) == 8
    assert libraries() == once
    assert value(fill, MORE=2) == 9
    (fill.parent / "value.cuh").write_text("#define VALUE (6 + MORE)\n")
    assert value(fill, MORE=2) == 8
    assert len(libraries()) == 3
    assert not [path for path in cache_folder().iterdir() if path.is_dir()]


def test_the_executor_is_compiled_anew_when_one_of_its_files_changes(tmp_path, monkeypatch):
    folder = tmp_path / "on_cpu"
    shutil.copytree(gplusplus.ON_CPU, folder)
    monkeypatch.setattr(gplusplus, "ON_CPU", folder)
    monkeypatch.setattr(gplusplus, "_kept", lambda name, make: name)
    names = [gplusplus._executor("g++", {}), gplusplus._executor("g++", {})]
    for name in ("threads.h", "threads.cpp"):
        with (folder / name).open("a") as file:
            file.write("// changed\n")
        names.append(gplusplus._executor("g++", {}))
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_a_mistake_is_told_with_file_and_line(fill):
    start = r"^fill\.cu: g\+\+ says "
    with pytest.raises(InputError, match=rf"{start}value\.cuh:1:20: error: 'MORE' was"):
        CpuKernels(fill, {})
    fill.write_text(FILL.replace("VALUE", "nothing"))
    with pytest.raises(InputError, match=rf"{start}fill\.cu:3:10: error: 'nothing' was not"):
        CpuKernels(fill, {})
    assert not libraries()


def test_a_fault_is_told_with_file_and_line(fill):
    text = "#define VALUE y[MORE]"
    (fill.parent / "value.cuh").write_text(f"{text}\n")
    with pytest.raises(KernelError, match=r"reads byte 8000 of y, .* \(fill\.cu:3\)$"):
        value(fill, MORE=2000)


def test_without_a_compiler_one_sentence_says_so(monkeypatch):
    monkeypatch.setattr(gplusplus.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"^warps\.cu needs g\+\+ to run on a CPU .* without it$"):
        CpuKernels(SOURCE, {})


def test_on_other_systems_one_sentence_says_so(monkeypatch):
    monkeypatch.setattr(gplusplus.sys, "platform", "darwin")
    with pytest.raises(InputError, match=r"^warps\.cu runs on the CPU under Linux alone; "):
        CpuKernels(SOURCE, {})


def test_what_is_compiled_lies_where_no_one_else_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(gplusplus.tempfile, "tempdir", str(tmp_path))
    name = f"minivlm-kernels-{os.getuid()}"
    assert cache_folder() == tmp_path / "home" / name
    assert stat.S_IMODE(cache_folder().stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # no folder can be there
    assert cache_folder() == tmp_path / name
    cache_folder().chmod(0o777)  # as someone else's might be
    assert cache_folder().parent == tmp_path
    assert cache_folder().name not in (name, cache_folder().name)


def test_the_portable_fibers_do_the_same():
    x = np.arange(64, dtype=np.int32)
    quick, slow = (np.full((64, 8), -1, np.int32) for _ in range(2))
    CpuKernels(SOURCE, {}).launch("exchange", (1,), (64,), (x, quick))
    CpuKernels(SOURCE, {"PORTABLE_FIBERS": 1}).launch("exchange", (1,), (64,), (x, slow))
    np.testing.assert_array_equal(quick, slow)


def test_signatures_are_read_as_they_are_written():
    text = """
    // extern "C" __global__ void not_this(int x) {}
    /* nor
       extern "C" __global__ void that(int x) {} */
    extern "C" __global__ void
    __launch_bounds__(2 * (THREADS), 1)
    first(const __nv_bfloat16* __restrict__ q, float *y,  // in and out
          const unsigned char* mask, long long step, unsigned int n, const int m) {}
    __device__ void helper(float x) {}
    extern "C" __global__ void second() {}
    """
    bf16, f32, u8 = BF16, np.dtype(np.float32), np.dtype(np.bool_)
    assert declared(text) == {
        "first": Kernel(
            [
                Parameter("q", bf16, is_pointer=True, is_const=True),
                Parameter("y", f32, is_pointer=True, is_const=False),
                Parameter("mask", u8, is_pointer=True, is_const=True),
                Parameter("step", np.dtype(np.int64), is_pointer=False, is_const=False),
                Parameter("n", np.dtype(np.uint32), is_pointer=False, is_const=False),
                Parameter("m", np.dtype(np.int32), is_pointer=False, is_const=True),
            ],
            "2 * (THREADS), 1",
        ),
        "second": Kernel([], ""),
    }


def test_a_type_that_numpy_does_not_know_is_refused():
    with pytest.raises(ValueError, match="f: q is of type 'half', which is none of float, "):
        declared('extern "C" __global__ void f(const half* q) {}')

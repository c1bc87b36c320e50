"""How `.cu` files get to a GPU, held to a stand-in for CuPy: no GPU is needed here."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minivlm.errors import InputError
from minivlm_kernels.arrays import BF16
from minivlm_kernels.cuda import gpu
from minivlm_kernels.cuda.gpu import GpuKernels
from minivlm_kernels.cuda.load import HERE

TEXT = """\
#include "warp.cuh"
extern "C" __global__ void fill(float* y, const unsigned char* mask, int n) {}
"""
HALVES = 'extern "C" __global__ void halve(const bf16* x) {}\n'


class CUDARuntimeError(RuntimeError):
    pass


class CompileException(Exception):
    pass


class Array(np.ndarray):
    """Stands for an array on a GPU."""


class Module:
    """Stands for CuPy's RawModule, and keeps what it is asked for."""

    made: list
    failure: Exception | None = None

    def __init__(self, code, options):
        self.code, self.options, self.calls = code, options, []
        Module.made.append(self)

    def compile(self):
        if self.failure:
            raise self.failure

    def get_function(self, name):
        return Function(self, name)


class Function:
    def __init__(self, module, name):
        object.__setattr__(self, "module", module)
        object.__setattr__(self, "name", name)

    def __setattr__(self, name, value):
        self.module.calls.append((name, value))

    def __call__(self, grid, block, arguments, shared_mem):
        self.module.calls.append((self.name, grid, block, arguments, shared_mem))


@pytest.fixture
def cupy(monkeypatch):
    """A stand-in with one H200."""
    Module.made, Module.failure = [], None
    device = SimpleNamespace(
        compute_capability="90",
        attributes={"MultiProcessorCount": 132, "MaxSharedMemoryPerBlockOptin": 227 * 1024},
    )
    stand_in = SimpleNamespace(
        RawModule=Module,
        ndarray=Array,
        cuda=SimpleNamespace(
            Device=lambda: device,
            runtime=SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=CUDARuntimeError),
            compiler=SimpleNamespace(CompileException=CompileException),
        ),
    )
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    return stand_in


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "my kernels" / "fill.cu"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


def array(*numbers, dtype=np.float32):
    return np.array(numbers, dtype).view(Array)


def refusal(source):
    with pytest.raises(InputError) as told:
        GpuKernels(source, {})
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_file_is_compiled_with_its_macros_and_folders(cupy, source):
    GpuKernels(source, {"C": 64, "B": 2})
    (module,) = Module.made
    folders = f"-I{HERE}", f"-I{source.parent}"
    assert module.options == ("--std=c++17", *folders, "-DB=2", "-DC=64")
    assert module.code.startswith(f'#line 1 "fill.cu"\n{TEXT}')


def test_cupy_is_told_when_an_included_file_has_changed(cupy, source):
    GpuKernels(source, {})
    GpuKernels(source, {})
    (source.parent / "more.cuh").write_text("// more\n")
    GpuKernels(source, {})
    first, second, third = (module.code for module in Module.made)
    assert first == second != third


def test_arguments_arrive_as_pointers_and_numbers(cupy, source):
    kernels = GpuKernels(source, {})
    y, mask = array(1, 2), array(True, dtype=bool)
    kernels.launch("fill", (3,), (32,), (y, mask, np.int32(2)))
    kernels.launch("fill", (3,), (32, 2), (y, None, np.int32(2)), shared_bytes=1024)
    first, second = Module.made[0].calls
    assert first[:3] == ("fill", (3,), (32,))
    assert first[3][0] is y
    assert first[3][1] is mask
    assert first[4] == 0
    null = second[3][1]
    assert (null, null.dtype) == (0, np.uint64)
    assert second[2:] == ((32, 2), (y, null, 2), 1024)


def test_much_shared_memory_is_asked_for_once(cupy, source):
    kernels = GpuKernels(source, {})
    for shared_bytes in (48 * 1024, 100_000, 90_000, 120_000, 120_000):
        kernels.launch("fill", (1,), (32,), (array(1), None, np.int32(1)), shared_bytes)
    asked = [call[1] for call in Module.made[0].calls if call[0] != "fill"]
    assert asked == [100_000, 120_000]
    cupy.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"] = 163 * 1024
    words = r"fill\.cu: fill needs 200000 bytes of shared memory a block, and this GPU has 166912"
    with pytest.raises(InputError, match=words):
        kernels.launch("fill", (1,), (32,), (array(1), None, np.int32(1)), 200_000)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("empty", (), "fill.cu has no kernel empty"),
        ("fill", (array(1), None), "fill.cu: fill takes 3 arguments, not 2"),
        ("fill", (array(1, dtype=BF16), None, np.int32(1)), "y is float32, not bfloat16"),
        ("fill", (np.ones(1, np.float32), None, np.int32(1)), "y is an array, not ndarray"),
        ("fill", (array(1), None, 1), "n is a NumPy scalar, not int"),
    ],
)
def test_what_a_kernel_does_not_declare_is_refused(cupy, source, name, arguments, words):
    with pytest.raises(ValueError, match=words):
        GpuKernels(source, {}).launch(name, (1,), (32,), arguments)
    assert not Module.made[0].calls


def test_without_cupy_one_sentence_says_so(source, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # an import of it fails
    assert refusal(source).startswith("kernels on a GPU need CuPy: pip install")


def test_without_a_driver_or_a_gpu_one_sentence_says_so(cupy, source):
    def no_driver():
        raise CUDARuntimeError("cudaErrorInsufficientDriver")

    cupy.cuda.runtime.getDeviceCount = no_driver
    assert "no usable GPU driver (cudaErrorInsufficientDriver)" in refusal(source)
    cupy.cuda.runtime.getDeviceCount = lambda: 0
    assert "CuPy is there, and no GPU" in refusal(source)


def test_an_old_gpu_runs_float32_alone(cupy, source):
    cupy.cuda.Device().compute_capability = "75"
    GpuKernels(source, {})
    source.write_text(HALVES)
    assert "needs compute capability 8.0, and this GPU has 7.5" in refusal(source)
    cupy.cuda.Device().compute_capability = "100"
    GpuKernels(source, {})
    assert gpu.capability() == (10, 0)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (RuntimeError("Failure finding libnvrtc"), "(Failure finding libnvrtc)"),
        (
            CompileException("warning: x\nwarp.cuh(8): error: cannot open cuda_bf16.h\n1 error"),
            "(warp.cuh(8): error: cannot open cuda_bf16.h)",
        ),
        (CompileException(), "()"),
    ],
)
def test_what_the_compiler_says_is_told_in_one_line(cupy, source, failure, words):
    Module.failure = failure
    told = refusal(source)
    assert told.startswith(f"fill.cu could not be compiled {words}; ")
    assert "minivlm_kernels.doctor" in told


def test_a_gpus_multiprocessors_are_counted(cupy):
    assert gpu.multiprocessors() == 132
    assert gpu.array_type() is Array

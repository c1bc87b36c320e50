"""How many warps fit, against NVIDIA's own calculator, a C header that comes with CUDA."""

import ctypes
import shutil
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minivlm_kernels.compilers.occupancy import (
    KB,
    MULTIPROCESSORS,
    REGISTERS,
    WARP,
    resident_warps,
)

CALCULATOR = """
#include <cuda_occupancy.h>

extern "C" int resident_blocks(int major, int minor, int warps, int shared, int block_shared,
                               int threads, int registers, int dynamic) {
  cudaOccDeviceProp device;
  device.computeMajor = major;
  device.computeMinor = minor;
  device.maxThreadsPerBlock = 1024;
  device.maxThreadsPerMultiprocessor = 32 * warps;
  device.regsPerBlock = device.regsPerMultiprocessor = 65536;
  device.warpSize = 32;
  device.sharedMemPerBlock = 48 * 1024;
  device.sharedMemPerMultiprocessor = shared;
  device.sharedMemPerBlockOptin = block_shared;
  device.reservedSharedMemPerBlock = shared - block_shared;
  device.numSms = 1;
  cudaOccFuncAttributes kernel;
  kernel.maxThreadsPerBlock = 1024;
  kernel.numRegs = registers;
  kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
  kernel.maxDynamicSharedSizeBytes = block_shared;
  kernel.numBlockBarriers = 1;
  cudaOccDeviceState state;
  cudaOccResult result;
  auto status = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads,
                                                        dynamic);
  return status == CUDA_OCC_SUCCESS ? result.activeBlocksPerMultiprocessor : -1;
}
"""


@pytest.fixture(scope="module")
def calculator(tmp_path_factory):
    """NVIDIA's function: resident blocks."""
    pathfinder = pytest.importorskip("cuda.pathfinder")
    headers = pathfinder.find_nvidia_header_directory("cudart")
    if headers is None or shutil.which("g++") is None:
        pytest.skip("NVIDIA's calculator needs CUDA's headers and g++")
    folder = tmp_path_factory.mktemp("calculator")
    (folder / "calculator.cpp").write_text(CALCULATOR)
    library = folder / "calculator.so"
    command = ["g++", "-w", "-shared", "-fPIC", f"-I{headers}", "-o", library, "calculator.cpp"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(library)).resident_blocks


@given(
    arch=st.sampled_from(list(MULTIPROCESSORS)),
    threads=st.integers(1, 32).map(lambda warps: warps * WARP) | st.integers(1, 1024),
    registers=st.integers(16, 255),
    shared=st.integers(0, 48 * KB) | st.integers(0, 230 * KB),
)
@example(arch="sm_90", threads=288, registers=224, shared=0)  # nine warps, dealt out as twelve
@example(arch="sm_90", threads=128, registers=32, shared=227 * KB // 2)  # and the system's, twice
def test_as_many_warps_fit_as_nvidias_calculator_says(calculator, arch, threads, registers, shared):
    gpu = MULTIPROCESSORS[arch]
    major, minor = divmod(int(arch.removeprefix("sm_")), 10)
    most = gpu.shared - gpu.kept
    sizes = gpu.warps, gpu.shared, most
    blocks = calculator(major, minor, *sizes, threads, registers, shared)
    expected = 0 if shared > most else blocks * -(-threads // WARP)
    assert blocks >= 0
    assert resident_warps(arch, threads, registers, shared) == expected


@pytest.mark.parametrize(
    ("registers", "warps"),
    [(32, 64), (33, 48), (64, 32), (128, 16), (168, 12), (255, 8)],
)
def test_registers_decide_how_many_warps_fit(registers, warps):
    assert resident_warps("sm_90", 128, registers, 0) == warps
    assert warps * WARP * registers <= REGISTERS


def test_a_block_that_asks_for_too_much_fits_nowhere():
    assert resident_warps("sm_90", 1024, 65, 0) == 0
    assert resident_warps("sm_80", 32, 32, 163 * KB) == 1
    assert resident_warps("sm_80", 32, 32, 163 * KB + 1) == 0

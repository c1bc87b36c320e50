"""Where a benchmark runs: on a GPU, or on the CPU, where kernels are emulated.

All else in this package asks a `Device` for the time, for memory and for arrays, so that the code
that measures a GPU is the code that the tests run without one. Inputs are made once, by PyTorch;
rungs see the same memory as CuPy's or NumPy's arrays.
"""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import torch

from minivlm.errors import InputError
from minivlm.memory import peak_memory, resident_memory
from minivlm.tensor import Array
from minivlm_kernels.arrays import BF16

HEAD_START = 4_000_000  # cycles that a GPU spins, about 2 ms, while the host queues the work
CLOCKS = "clocks.sm,clocks.max.sm,clocks.mem,temperature.gpu,power.draw"


class DeviceLost(RuntimeError):
    """The device answers every call with an error, until the process ends."""


class Device(Protocol):
    """What a benchmark asks of the machine.

    Attributes:
        name: "cuda" or "cpu".
        emulated: the kernels are emulated, so that times say nothing about a GPU.
    """

    name: str
    emulated: bool

    def array(self, tensor: torch.Tensor) -> Array:
        """The tensor's memory as a rung takes it; nothing is copied."""
        ...

    def tensor(self, array: Array) -> torch.Tensor:
        """The array's memory as PyTorch takes it; nothing is copied."""
        ...

    def seconds(self, work: Callable[[], object]) -> float:
        """How long the device was busy with the work."""
        ...

    def kernels(self) -> AbstractContextManager:
        """Within, rungs can run."""
        ...

    def finish(self) -> None:
        """Wait for all work.

        Raises:
            DeviceLost: an error has left the device unusable.
        """
        ...

    def free_memory(self) -> None:
        """Give back what pools keep of freed arrays."""
        ...

    def taken(self) -> int:
        """Bytes in use now, pools included."""
        ...

    def most_taken(self) -> int:
        """The most bytes in use at once since pools were freed."""
        ...

    def clocks(self) -> dict[str, str]:
        """Clocks, temperature and power at this moment; empty where nobody tells."""
        ...

    def about(self) -> dict[str, str]:
        """The device, its driver and its compilers."""
        ...


def open_device(name: str) -> Device:
    """The device called "cuda" or "cpu".

    Raises:
        InputError: there is no GPU, or CuPy or PyTorch cannot use it.
    """
    return CudaDevice() if name == "cuda" else CpuDevice()


def as_tensor(device: Device, output: Array | torch.Tensor) -> torch.Tensor:
    """What a rung or PyTorch gave, as PyTorch sees it."""
    return output if isinstance(output, torch.Tensor) else device.tensor(output)


class CpuDevice:
    """The host: rungs run in the stepper and the executor, PyTorch as on any CPU."""

    name = "cpu"
    emulated = True

    def array(self, tensor: torch.Tensor) -> Array:
        """NumPy's array of the same memory."""
        return _shared(tensor, np.from_dlpack)

    def tensor(self, array: Array) -> torch.Tensor:
        """PyTorch's tensor of the same memory."""
        return _shared_with_torch(np.asarray(array))

    def seconds(self, work: Callable[[], object]) -> float:
        """By the clock on the wall."""
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def kernels(self) -> AbstractContextManager:
        """Numba's kernels run in the stepper, which is faster than Numba's simulator."""
        from minivlm_kernels import stepper

        return stepper.watch()

    def finish(self) -> None:
        """Nothing to wait for: the work of a CPU is done when its call returns."""

    def free_memory(self) -> None:
        """Nothing to empty: NumPy has no pool."""

    def taken(self) -> int:
        """What the process has in memory."""
        return resident_memory()

    def most_taken(self) -> int:
        """The most that it ever had."""
        return peak_memory()

    def clocks(self) -> dict[str, str]:
        """Nobody tells."""
        return {}

    def about(self) -> dict[str, str]:
        """The processor."""
        return {"device": f"CPU, {platform.machine()}, {os.cpu_count()} cores"}


class CudaDevice:
    """The first GPU that CUDA_VISIBLE_DEVICES leaves visible.

    Everything runs on the legacy default stream, which PyTorch, CuPy and Numba share by default:
    their work is done in the order in which it was asked for.
    """

    name = "cuda"
    emulated = False

    def __init__(self):
        import cupy

        if not torch.cuda.is_available():
            raise InputError(
                f"PyTorch {torch.__version__} finds no GPU that it can use; --device cpu needs none"
            )
        try:
            cupy.zeros(1).get()
        except Exception as error:  # whatever a broken installation comes up with
            raise InputError(f"CuPy {cupy.__version__} cannot use the GPU: {error}") from None
        self._cupy = cupy
        self._bus = cupy.cuda.Device(0).pci_bus_id
        torch.cuda.init()
        gc.freeze()  # modules stay; without their thousands of objects, collecting is quick

    def array(self, tensor: torch.Tensor) -> Array:
        """CuPy's array of the same memory."""
        return _shared(tensor, self._cupy.from_dlpack)

    def tensor(self, array: Array) -> torch.Tensor:
        """PyTorch's tensor of the same memory."""
        return _shared_with_torch(array)

    def seconds(self, work: Callable[[], object]) -> float:
        """The time between two events of the stream.

        Between the events there must be no wait for the host, which needs a fraction of a
        millisecond to queue the work. So the GPU spins first, and the host has a head start.
        """
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(HEAD_START)
        start.record()
        work()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) / 1000  # it tells milliseconds

    def kernels(self) -> AbstractContextManager:
        """Nothing to do."""
        return nullcontext()

    def finish(self) -> None:
        """Wait; an error of a kernel shows here at the latest."""
        try:
            torch.cuda.synchronize()
        except RuntimeError as error:
            raise _lost(error) from None

    def free_memory(self) -> None:
        """Empty the pools of PyTorch and of CuPy."""
        gc.collect()
        try:
            torch.cuda.empty_cache()
            self._cupy.get_default_memory_pool().free_all_blocks()
        except RuntimeError as error:
            raise _lost(error) from None

    def taken(self) -> int:
        """As the driver says, whoever took it."""
        free, total = torch.cuda.mem_get_info()
        return total - free

    def most_taken(self) -> int:
        """What the pools hold, for they return nothing by themselves."""
        torch.cuda.synchronize()
        return self.taken()

    def clocks(self) -> dict[str, str]:
        """As nvidia-smi says."""
        return self._ask_nvidia_smi(CLOCKS)

    def about(self) -> dict[str, str]:
        """The GPU, its driver, and for which CUDA the libraries were made."""
        gpu = torch.cuda.get_device_properties(0)
        runtime = self._cupy.cuda.runtime
        return {
            "device": gpu.name,
            "compute capability": f"{gpu.major}.{gpu.minor}",
            "multiprocessors": str(gpu.multi_processor_count),
            "memory": f"{gpu.total_memory / 2**30:.1f} GiB",
            "driver": self._ask_nvidia_smi("driver_version").get("driver_version", "unknown"),
            "CUDA of the driver": _cuda_version(runtime.driverGetVersion()),
            "CUDA of CuPy": _cuda_version(runtime.runtimeGetVersion()),
            "CUDA of PyTorch": str(torch.version.cuda),
            "cuDNN of PyTorch": str(torch.backends.cudnn.version()),
        }

    def _ask_nvidia_smi(self, fields: str) -> dict[str, str]:
        query = ["nvidia-smi", "-i", self._bus, f"--query-gpu={fields}", "--format=csv,noheader"]
        try:
            answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            return {}
        values = [value.strip() for value in answer.stdout.split(",")]
        return dict(zip(fields.split(","), values, strict=False))


def _lost(error: RuntimeError) -> DeviceLost:
    text = str(error).strip().splitlines()[0]
    return DeviceLost(f"the GPU answers no more calls of this process ({text})")


def _shared(tensor: torch.Tensor, from_dlpack: Callable) -> Array:
    """Bfloat16 travels as integers of 16 bits: not every release of CuPy takes it by DLPack."""
    if tensor.dtype == torch.bfloat16:
        return from_dlpack(tensor.view(torch.int16)).view(BF16)
    return from_dlpack(tensor)


def _shared_with_torch(array: Array) -> torch.Tensor:
    if array.dtype == BF16:
        return torch.from_dlpack(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_dlpack(array)


def _cuda_version(number: int) -> str:
    """13000 is how CUDA writes 13.0."""
    return f"{number // 1000}.{number % 1000 // 10}"

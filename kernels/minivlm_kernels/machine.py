"""What this machine answers when it is asked for kernels' needs.

Nothing here needs a GPU, a driver or CuPy: what does not answer is Missing, with the reason. The
driver is asked through ctypes, for CuPy and Numba may be what is broken.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import NamedTuple, TypeVar

Version = tuple[int, int]
Answer = TypeVar("Answer")

CUPY = {"cupy-cuda11x": 11, "cupy-cuda12x": 12, "cupy-cuda13x": 13}  # and the CUDA that it is for
PACKAGES = ("numpy", "ml_dtypes", "numba", "numba-cuda", "cupy", *CUPY)
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
STATUS = {  # of the driver's functions, as far as a user can do something about it
    100: "the driver finds no GPU",
    803: "the driver's library is not of the version that its kernel module has; restart",
}


class Missing(str):
    """What does not answer: the reason, in one line."""


class Driver(NamedTuple):
    """NVIDIA's driver: the newest CUDA that it runs, its first GPU and that GPU's capability."""

    cuda: Version
    gpu: str
    capability: Version


@dataclass(frozen=True)
class Machine:
    """What a machine answers; where it does not, Missing says why.

    Attributes:
        packages: versions of those in PACKAGES that are installed.
        compiler: the first line of `g++ --version`.
        driver: NVIDIA's.
        nvrtc: the version of the compiler that CuPy loads.
        headers: the version of CUDA's headers.
        nvvm: where Numba's compiler is.
        nvjitlink: where its linker is.
        simulator: NUMBA_ENABLE_CUDASIM is set.
    """

    packages: dict[str, str]
    compiler: str
    driver: Driver | Missing
    nvrtc: Version | Missing
    headers: Version | Missing
    nvvm: str
    nvjitlink: str
    simulator: bool


def look() -> Machine:
    """Ask this machine; what fails is noted with its reason, whatever it is."""
    return Machine(
        packages=_packages(),
        compiler=_answer(_compiler),
        driver=_answer(_driver),
        nvrtc=_answer(_nvrtc),
        headers=_answer(_headers),
        nvvm=_answer(partial(_library, "nvvm")),
        nvjitlink=_answer(partial(_library, "nvJitLink")),
        simulator=os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"),
    )


def _answer(probe: Callable[[], Answer]) -> Answer | Missing:
    """What the probe gives, or in one line why it cannot."""
    try:
        return probe()
    except Exception as error:  # a diagnosis is no place for a traceback
        return Missing((str(error).strip() or type(error).__name__).splitlines()[0])


def _packages() -> dict[str, str]:
    """Versions of the PACKAGES that are installed."""
    found = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _compiler() -> str:
    told = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout
    return told.splitlines()[0]


def _driver() -> Driver:
    library = ctypes.CDLL(DRIVER)
    number, gpu, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)

    def ask(function: str, *arguments) -> int:
        """Call the driver; what it answers in `number`."""
        status = getattr(library, function)(*arguments)
        if status:
            raise OSError(STATUS.get(status, f"{function} says {status}"))
        return number.value

    ask("cuInit", 0)
    cuda = ask("cuDriverGetVersion", ctypes.byref(number))  # 13020 for 13.2
    ask("cuDeviceGet", ctypes.byref(gpu), 0)
    ask("cuDeviceGetName", name, len(name), gpu)
    major, minor = (ask("cuDeviceGetAttribute", ctypes.byref(number), n, gpu) for n in (75, 76))
    return Driver(divmod(cuda // 10, 100), name.value.decode(), (major, minor))


def _nvrtc() -> Version:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it finds no GPU, CuPy warns
        return import_module("cupy").cuda.nvrtc.getVersion()


def _headers() -> Version:
    folder = import_module("cuda.pathfinder").find_nvidia_header_directory("cudart")
    if folder is None:
        raise FileNotFoundError("no cuda_runtime_api.h anywhere")
    text = Path(folder, "cuda_runtime_api.h").read_text(encoding="utf-8", errors="replace")
    defined = re.search(r"#define CUDART_VERSION\s+(\d+)", text)
    assert defined is not None
    return divmod(int(defined[1]) // 10, 100)


def _library(name: str) -> str:
    return import_module("cuda.pathfinder").load_nvidia_dynamic_lib(name).abs_path

"""What this machine lacks to run kernels on its GPU, and the one command that mends each.

    python -m minivlm_kernels.doctor

The answer is 0 where the GPU rungs can run, otherwise 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

from minivlm_kernels.machine import CUPY, Driver, Machine, Missing, Version, look
from minivlm_kernels.needs import BF16_NEEDS, FLOAT32_NEEDS

NEWER_DRIVER = (
    "sudo ubuntu-drivers install  # elsewhere: nvidia.com/drivers; a container: docker --gpus all"
)


class Finding(NamedTuple):
    """One thing that was judged.

    Attributes:
        good: it is as it should be.
        told: a sentence.
        mend: a command.
        blocks: not good, and the GPU rungs cannot run before it is mended.
    """

    good: bool
    told: str
    mend: str = ""
    blocks: bool = True


def diagnose() -> list[str]:
    """A few lines: what is there, what is missing, and whether the GPU rungs can run."""
    return told(list(findings(look())))


def main() -> int:
    """Print the diagnosis; 0 if the GPU rungs can run, else 1."""
    found = list(findings(look()))
    print("\n".join(told(found)))
    return int(any(map(_blocking, found)))


def told(found: list[Finding]) -> list[str]:
    """The findings as lines, and the sum of them."""
    lines = []
    for finding in found:
        mark = "ok" if finding.good else "missing" if finding.blocks else "note"
        lines.append(f"{mark:8} {finding.told}")
        if finding.mend:
            lines.append(f"{'':8} $ {finding.mend}")
    if any(map(_blocking, found)):
        lines.append("The GPU rungs cannot run here before what is missing is mended.")
        lines.append("Without a GPU all rungs run too, slowly: kernels/README.md shows how.")
    else:
        lines.append("The GPU rungs can run here.")
    return lines


def findings(machine: Machine) -> Iterator[Finding]:
    """Judge a machine, what everything else rests on first."""
    yield from _about_numba(machine)
    yield from _about_compiler(machine)
    if isinstance(machine.driver, Missing):
        yield Finding(False, f"no NVIDIA driver answers: {machine.driver}", NEWER_DRIVER)
    else:
        yield from _about_gpu(machine.driver)
    yield from _about_cupy(machine)
    yield from _about_toolkit(machine)


def _blocking(finding: Finding) -> bool:
    return finding.blocks and not finding.good


def _about_numba(machine: Machine) -> Iterator[Finding]:
    """The Python rungs, with a GPU or without."""
    needed = ("numpy", "ml_dtypes", "numba", "numba-cuda")
    absent = [name for name in needed if name not in machine.packages]
    if absent:
        told = f"not installed: {', '.join(absent)}. No rung can run, on a GPU or without one"
        yield Finding(False, told, 'pip install -e ".[kernels]"')
        return
    versions = "Numba {numba} with numba-cuda {numba-cuda}".format_map(machine.packages)
    yield Finding(True, f"{versions}: the Python rungs, the simulator, the stepper")
    numpy, numba_cuda = (_version(machine.packages[name]) for name in ("numpy", "numba-cuda"))
    if numpy >= (2, 5) and numba_cuda < (0, 31):
        told = (
            f"numba-cuda {machine.packages['numba-cuda']} compiles nothing for a GPU beside NumPy"
        )
        told += f" {machine.packages['numpy']}, which has dropped np.row_stack"
        yield Finding(False, told, 'pip install "numpy<2.5"')
    if machine.simulator and isinstance(machine.driver, Driver):
        told = "NUMBA_ENABLE_CUDASIM is set: Numba simulates, and its kernels never see the GPU"
        yield Finding(False, told, "unset NUMBA_ENABLE_CUDASIM")


def _about_compiler(machine: Machine) -> Iterator[Finding]:
    """The .cu rungs without a GPU."""
    if isinstance(machine.compiler, Missing):
        told = f"the .cu rungs cannot run on the CPU: {machine.compiler}"
        yield Finding(False, told, "sudo apt install g++", blocks=False)
    else:
        yield Finding(True, f"{machine.compiler}: the .cu rungs run on the CPU")


def _about_gpu(driver: Driver) -> Iterator[Finding]:
    gpu = f"{driver.gpu}, compute capability {_dotted(driver.capability)}"
    if driver.capability < FLOAT32_NEEDS:
        needs = _dotted(FLOAT32_NEEDS)
        yield Finding(False, f"{gpu}: the rungs need {needs}, and no command mends that")
        return
    yield Finding(True, f"{gpu}, with a driver for CUDA up to {_dotted(driver.cuda)}")
    if driver.capability < BF16_NEEDS:
        told = f"bfloat16 needs compute capability {_dotted(BF16_NEEDS)}: NumPy's body runs instead"
        yield Finding(False, told, blocks=False)


def _about_cupy(machine: Machine) -> Iterator[Finding]:
    """CuPy: not there, there twice, for another CUDA than the driver's, or too old."""
    extra = _extra(machine.driver)
    names = [name for name in ("cupy", *CUPY) if name in machine.packages]
    if not names:
        yield Finding(False, "CuPy is not installed", f'pip install -e ".[{extra}]"')
        return
    if len(names) > 1:
        told = f"{' and '.join(names)} are both installed, and each has overwritten the other"
        again = f'pip uninstall -y {" ".join(names)} && pip install -e ".[{extra}]"'
        yield Finding(False, told, again)
        return
    name, version = names[0], machine.packages[names[0]]
    cuda = CUPY.get(name)
    if isinstance(machine.driver, Driver) and cuda is not None and cuda > machine.driver.cuda[0]:
        told = f"{name} needs a driver for CUDA {cuda}, this one is for {machine.driver.cuda[0]}"
        other = f'pip uninstall -y {name} && pip install -e ".[{extra}]"'
        yield Finding(False, told, NEWER_DRIVER if machine.driver.cuda < (12, 0) else other)
    elif _version(version) < (14, 0):
        told = f"{name} {version} knows no bfloat16"
        yield Finding(False, told, f'pip install -U "{name}[ctk]>=14"')
    else:
        yield Finding(True, f"{name} {version}")


def _about_toolkit(machine: Machine) -> Iterator[Finding]:
    """The compilers: CuPy's for .cu files with its headers, and Numba's."""
    install = f'pip install -e ".[{_extra(machine.driver)}]"'
    if isinstance(machine.nvrtc, Missing):
        if machine.packages.keys() & {"cupy", *CUPY}:  # else that is what is missing
            yield Finding(False, f"CuPy cannot compile .cu files: {machine.nvrtc}", install)
    elif isinstance(machine.headers, Missing):
        yield Finding(False, f"CUDA's headers are missing: {machine.headers}", install)
    elif machine.nvrtc[0] != machine.headers[0]:
        told = f"NVRTC is of CUDA {_dotted(machine.nvrtc)}, its headers {_dotted(machine.headers)}"
        yield Finding(False, f"{told}, which do not go together", install)
    else:
        told = f"NVRTC {_dotted(machine.nvrtc)} and headers {_dotted(machine.headers)}"
        yield Finding(True, f"{told} compile .cu files")
    if isinstance(machine.nvvm, Missing):
        yield Finding(False, "libNVVM is missing: Numba cannot compile for a GPU", install)
    elif isinstance(machine.nvjitlink, Missing):
        told = (
            "nvJitLink is missing: Numba then hands PTX to the driver, and one that is older "
            "than the compiler refuses it (cudaErrorUnsupportedPtxVersion)"
        )
        yield Finding(False, told, install, blocks=False)
    else:
        yield Finding(True, "libNVVM and nvJitLink compile the Python rungs")


def _extra(driver: Driver | Missing) -> str:
    """The extra of this package that suits the driver."""
    return "cuda12" if isinstance(driver, Driver) and driver.cuda[0] == 12 else "cuda13"


def _version(text: str) -> Version:
    """The first two numbers of "14.2.0"."""
    major, minor = re.findall(r"\d+", text)[:2]
    return int(major), int(minor)


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


if __name__ == "__main__":
    sys.exit(main())

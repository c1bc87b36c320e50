"""NVRTC: a `.cu` file becomes PTX and machine code, with the options that a GPU's user gets."""
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cuda.bindings import nvrtc
from cuda.pathfinder import find_nvidia_header_directory

from minivlm_kernels.compilers.figures import Compiled, CompileError, read_report, refusal
from minivlm_kernels.cuda.gpu import options


def compile_cu(
    source: Path, arch: str, defines: Mapping[str, int], lines: bool = False
) -> Compiled:
    """All kernels of one file, for one kind of GPU.

    Args:
        source: a `.cu` file.
        arch: such as "sm_90".
        defines: macros, such as {"C": 64}.
        lines: `.loc` directives in the PTX tell which line each instruction came from.

    Raises:
        CompileError: the file does not compile; the message names the file and the line.
    """
    headers = find_nvidia_header_directory("cudart")
    by_cupy = f"-I{headers}", f"-arch={arch}", "-ftz=true"  # CuPy adds these to the rung's options
    given = (*options(source, dict(defines)), *by_cupy, "--ptxas-options=-v")
    encoded = [option.encode() for option in given + ("-lineinfo",) * lines]
    text = source.read_bytes()
    program = _checked(*nvrtc.nvrtcCreateProgram(text, str(source).encode(), 0, [], []))
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        log = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise refusal(log)
        ptx = _text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    figures = read_report(log)
    in_order = sorted(figures, key=lambda name: text.find(f" {name}(".encode()))
    return Compiled(ptx, {name: figures[name] for name in in_order})


def _text(size_of: Callable, read: Callable, program: object) -> str:
    """One of the texts that NVRTC keeps, by its pair of functions."""
    buffer = bytearray(_checked(*size_of(program)))
    _checked(*read(program, buffer))
    return buffer.decode(errors="replace").rstrip("\0")


def _checked(status: nvrtc.nvrtcResult, value: Any = None) -> Any:
    """The value that a call of NVRTC gave, if it went well."""
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise CompileError(f"NVRTC says {status.name}")
    return value

"""Numba: a kernel in Python becomes code for a GPU, and nvJitLink makes PTX and figures of it."""
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import re
from pathlib import Path

from numba import cuda
from numba.core.errors import NumbaError

from minivlm_kernels.compilers.figures import Compiled, CompileError
from minivlm_kernels.compilers.link import link_figures, link_ptx


def compile_numba(kernel, signature: str, arch: str, lines: bool = False) -> Compiled:
    """One kernel, for one kind of GPU.

    Args:
        kernel: what `numba.cuda.jit` made of a function.
        signature: what it is called with, such as "void(float32[::1], int32)".
        arch: such as "sm_90".
        lines: `.loc` directives in the PTX tell which line each instruction came from.

    Raises:
        CompileError: the kernel does not compile.
    """
    major, minor = divmod(int(arch.removeprefix("sm_")), 10)
    try:
        code, _ = cuda.compile(
            kernel.py_func,
            signature,
            device=False,
            abi="numba",
            output="ltoir",
            cc=(major, minor),
            fastmath=kernel.targetoptions["fastmath"],
            lineinfo=lines,
        )
    except NumbaError as error:
        raise CompileError(_one_line(str(error))) from None
    return Compiled(link_ptx(code, arch), link_figures(code, arch))


def _one_line(message: str) -> str:
    """Numba's reason, and the line of Python that it is about."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reason = next((line for line in lines if not line.startswith("Failed in")), "no reason given")
    place = re.search(r'File "([^"]*)", line (\d+)', message)
    return f"{Path(place[1]).name} line {place[2]}: {reason}" if place else reason

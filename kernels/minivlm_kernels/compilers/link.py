"""nvJitLink: what Numba compiled becomes PTX and machine code, as it does before a launch.

Numba hands over LTO-IR, code that is optimised only when it is linked; so PTX and figures are
taken after the link. They are what a GPU gets to run.
"""
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from cuda.bindings.nvjitlink import nvJitLinkError
from cuda.core import Linker, LinkerOptions, ObjectCode

from minivlm_kernels.compilers.figures import Figures, read_report, refusal


def link_ptx(code: bytes, arch: str) -> str:
    """The PTX text.

    Args:
        code: LTO-IR.
        arch: a kind of GPU, such as "sm_90".
    """
    options = LinkerOptions(arch=arch, link_time_optimization=True, ptx=True)
    linker = Linker(ObjectCode.from_ltoir(code), options=options)
    return linker.link("ptx").code.decode().rstrip("\0")


def link_figures(code: bytes, arch: str) -> dict[str, Figures]:
    """Each kernel's figures, from the assembler.

    Args:
        code: LTO-IR.
        arch: a kind of GPU.

    Raises:
        CompileError: the assembler refused.
    """
    options = LinkerOptions(
        arch=arch, link_time_optimization=True, verbose=True, ptxas_options=["-v"]
    )
    linker = Linker(ObjectCode.from_ltoir(code), options=options)
    try:
        linker.link("cubin")
    except nvJitLinkError as error:
        raise refusal(str(error)) from None
    return read_report(linker.get_info_log())

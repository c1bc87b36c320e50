"""Kernels compiled for real GPUs, on a machine that needs none: float64, spills, registers.

    python -m minivlm_kernels.compilers                             # the table, on the screen
    python -m minivlm_kernels.compilers a7                          # of one rung
    python -m minivlm_kernels.compilers --write kernels/registers.md
    python -m minivlm_kernels.compilers --check kernels/registers.md

The compilers are those of a GPU's user, each from a wheel: Numba and libNVVM for the Python rungs,
NVRTC for the `.cu` files, nvJitLink and its assembler for the machine code.
"""

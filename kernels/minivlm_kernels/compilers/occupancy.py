"""How much of a kernel fits on a multiprocessor at once.

While one warp waits for memory others compute, so warps that are there hide what memory takes. How
many fit is decided by what each block takes of registers and of shared memory.

Sources: the CUDA C++ Programming Guide, "Compute Capabilities"; NVIDIA's cuda_occupancy.h.
"""

from __future__ import annotations

from dataclasses import dataclass

REGISTERS = 65_536  # of a multiprocessor
QUARTERS = 4  # of a multiprocessor: each has a fourth of its registers, for its own warps
WARP = 32  # threads
KB = 1024


@dataclass(frozen=True)
class Multiprocessor:
    """What there is to share.

    Attributes:
        warps: at most so many at once.
        blocks: likewise.
        shared: bytes of shared memory.
        kept: bytes of it that the system takes for each block.
        step: bytes of shared memory are dealt out in multiples.
    """

    warps: int
    blocks: int
    shared: int
    kept: int
    step: int


MULTIPROCESSORS = {  # of Turing (T4), Ampere (A100), Hopper (H100, H200)
    "sm_75": Multiprocessor(warps=32, blocks=16, shared=64 * KB, kept=0, step=256),
    "sm_80": Multiprocessor(warps=64, blocks=32, shared=164 * KB, kept=KB, step=128),
    "sm_90": Multiprocessor(warps=64, blocks=32, shared=228 * KB, kept=KB, step=128),
}


def resident_warps(arch: str, threads: int, registers: int, shared: int) -> int:
    """How many warps of a kernel a multiprocessor holds at once; 0 where not even a block fits.

    Args:
        arch: the kind of GPU.
        threads: of a block.
        registers: of a thread.
        shared: bytes of a block.
    """
    gpu = MULTIPROCESSORS[arch]
    warps = _up(threads, WARP) // WARP
    of_a_warp = _up(registers * WARP, 256)  # registers, as they are dealt out
    by_registers = REGISTERS // QUARTERS // of_a_warp * QUARTERS // warps
    of_a_block = _up(shared + gpu.kept, gpu.step)
    by_shared = gpu.shared // of_a_block if of_a_block else gpu.blocks
    return warps * min(gpu.blocks, gpu.warps // warps, by_registers, by_shared)


def _up(count: int, step: int) -> int:
    """The next multiple."""
    return -(-count // step) * step

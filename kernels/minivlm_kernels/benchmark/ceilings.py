"""What this device does at best: products of large matrices by a library, and a copy.

A kernel's speed says little alone. As a share of what the same device reached a minute before, at
the same clocks, it says how much is left.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from minivlm_kernels.benchmark.device import Device
from minivlm_kernels.benchmark.timing import Failure, Schedule, Times, attempt

PRODUCTS = {  # the name of a ceiling: dtype, and to what PyTorch may round float32
    "bfloat16": (torch.bfloat16, "highest"),
    "float32": (torch.float32, "highest"),
    "tf32": (torch.float32, "high"),
}


def measure_ceilings(
    device: Device, side: int, copied: int, schedule: Schedule
) -> dict[str, float]:
    """Operations a second of products side³, and bytes a second of a copy.

    Args:
        device: what is measured.
        side: of the square matrices, which are random: zeros draw less power, and run faster.
        copied: bytes that are read, and as many written.
        schedule: how often.

    Returns:
        By name: "bfloat16", "tf32", "float32" in operations a second, "copy" in bytes a second,
        reading and writing both counted. What did not fit or failed is missing.
    """
    ceilings: dict[str, float] = {}
    for name, (dtype, rounding) in PRODUCTS.items():
        torch.set_float32_matmul_precision(rounding)
        seconds = attempt(device, _product, device, side, dtype, schedule)
        torch.set_float32_matmul_precision("highest")
        if not isinstance(seconds, Failure):
            ceilings[name] = 2 * side**3 / seconds
        device.free_memory()
    seconds = attempt(device, _copy, device, copied, schedule)
    if not isinstance(seconds, Failure):
        ceilings["copy"] = 2 * copied / seconds
    device.free_memory()
    return ceilings


def _product(device: Device, side: int, dtype: torch.dtype, schedule: Schedule) -> float:
    """Median seconds."""
    a = torch.randn(side, side, dtype=dtype, device=device.name)
    b = torch.randn(side, side, dtype=dtype, device=device.name)
    out = torch.empty_like(a)
    return _median(device, lambda: torch.mm(a, b, out=out), schedule)


def _copy(device: Device, copied: int, schedule: Schedule) -> float:
    """Median seconds."""
    source = torch.randn(copied // 4, device=device.name)
    target = torch.empty_like(source)
    return _median(device, lambda: target.copy_(source), schedule)


def _median(device: Device, work: Callable[[], object], schedule: Schedule) -> float:
    for _ in range(schedule.warm_ups):
        work()
    return Times.of([device.seconds(work) for _ in range(schedule.repeats)]).median

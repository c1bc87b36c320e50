"""A whole run: ceilings, workloads, memory, large batches, counts; what is known is kept.

A run can end at any moment, by Ctrl-C or a lost GPU. So everything goes into one dictionary as soon
as it is measured, which is saved and printed whatever happens.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata

from minivlm_kernels.benchmark import memory, workloads
from minivlm_kernels.benchmark.ceilings import measure_ceilings
from minivlm_kernels.benchmark.counting import count
from minivlm_kernels.benchmark.device import Device
from minivlm_kernels.benchmark.measure import measure
from minivlm_kernels.benchmark.timing import Schedule
from minivlm_kernels.benchmark.workloads import Growth, Workload, as_dict, is_wanted

PACKAGES = ("minivlm", "numpy", "torch", "cupy", "numba", "nvidia-cuda-nvrtc", "nvidia-nvvm")


@dataclass(frozen=True)
class Plan:
    """What a run measures.

    Attributes:
        workloads: to check and to time.
        growths: to see how peak memory grows.
        big: to run once each.
        counted: count operations and bytes.
        side: of the square matrices whose product is a ceiling.
        copied: bytes that the copy reads.
        schedule: how often.
    """

    workloads: tuple[Workload, ...] = ()
    growths: tuple[Growth, ...] = ()
    big: tuple[Workload, ...] = ()
    counted: bool = False
    side: int = 8192
    copied: int = 4 * 2**30
    schedule: Schedule = field(default_factory=Schedule)


FULL = Plan(workloads.FULL, workloads.GROWTHS)
QUICK = Plan(workloads.QUICK, side=4096, copied=2**30)
BIG = Plan(big=workloads.BIG)
EMULATED = Plan(workloads.EMULATED, counted=True, side=256, copied=2**23, schedule=Schedule(0, 1))


def new_run(device: Device, command: str) -> dict:
    """A run of which nothing was measured yet, for JSON."""
    return {
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "emulated": device.emulated,
        "stopped": None,
        "about": device.about(),
        "versions": _versions(),
        "clocks": {},
        "ceilings": {},
        "workloads": [],
        "memory": [],
        "big": [],
    }


def fill(
    run: dict, plan: Plan, device: Device, rungs: frozenset[str], save: Callable[[], None]
) -> None:
    """Measure all of a plan.

    Args:
        run: gets the results as they come.
        plan: what to measure.
        device: where.
        rungs: which rungs take part.
        save: called whenever there is something new to save.
    """
    run["clocks"]["before"] = device.clocks()
    _say("the device at its best")
    run["ceilings"] = measure_ceilings(device, plan.side, plan.copied, plan.schedule)
    try:
        for workload in plan.workloads:
            _measure_workload(run, workload, plan, device, rungs)
            save()
    finally:
        run["clocks"]["after"] = device.clocks()
    for growth in plan.growths:
        _measure_growth(run, growth, device, rungs)
        save()
    for workload in plan.big:
        _say(workload.title)
        peaks = memory.measure_peaks(device.name, workloads.BIG_BY, [workload], checked=True)
        run["big"] += [{**peak, "operations": workload.operations} for peak in peaks]
        save()


def has_failed(run: dict) -> bool:
    """A rung was wrong, or did not run."""
    entries = [entry for workload in run["workloads"] for entry in workload["entries"]]
    ours = [entry for entry in entries if entry["ours"]]
    return any(entry["status"] in ("WRONG", "failed") for entry in ours + run["big"])


def _measure_workload(
    run: dict, workload: Workload, plan: Plan, device: Device, rungs: frozenset[str]
) -> None:
    contenders = [c for c in workload.contenders() if is_wanted(c.name, rungs)]
    if not any(contender.ours for contender in contenders):
        return
    _say(workload.title)
    entries: list[dict] = []
    run["workloads"].append(
        {
            "title": workload.title,
            "dtype": workload.dtype,
            "operations": workload.operations,
            "sizes": as_dict(workload),
            "entries": entries,
        }
    )
    with device.kernels():
        measure(workload, contenders, device, plan.schedule, entries)
        if plan.counted:
            count(workload, contenders, device, entries)
    device.free_memory()


def _measure_growth(run: dict, growth: Growth, device: Device, rungs: frozenset[str]) -> None:
    contenders = [name for name in growth.contenders if is_wanted(name, rungs)]
    if all(name.startswith("torch") for name in contenders):
        return
    for name in contenders:
        _say(f"peak memory of {name}: {growth.workloads[-1].title}")
        peaks = memory.measure_peaks(device.name, name, growth.workloads)
        known = [peak for peak in peaks if "peak" in peak]
        line = None
        if len(known) == len(peaks):
            rows, most = [p["rows"] for p in known], [p["peak"] for p in known]
            line = memory.fit_line(rows, most)._asdict()
        run["memory"].append({"contender": name, "peaks": peaks, "line": line})


def _versions() -> dict[str, str]:
    """What is installed of Python's packages that a figure may depend on."""
    installed = {
        each.metadata["Name"]: each.version
        for each in metadata.distributions()
        if each.metadata["Name"].startswith(PACKAGES)
    }
    return {"Python": platform.python_version(), **dict(sorted(installed.items()))}


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)

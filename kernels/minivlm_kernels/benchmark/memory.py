"""Peak memory, each contender in a process of its own, and the bytes that one more row costs.

A pool keeps what its arrays gave back. In a process that runs one contender, after the pools were
emptied, what the device has given away is thus the most that was in use at once.

    python -m minivlm_kernels.benchmark.memory '{"device": ...}'    the child; nothing for people
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivlm_kernels.arrays import poisoned_outputs
from minivlm_kernels.benchmark.device import Device, open_device
from minivlm_kernels.benchmark.measure import as_json
from minivlm_kernels.benchmark.timing import Contender, Failure, attempt
from minivlm_kernels.benchmark.workloads import Workload, as_dict, from_dict

KERNELS = Path(__file__).parents[2]


class Line(NamedTuple):
    """Peak bytes as a straight line over the rows.

    Attributes:
        per_row: bytes that one more row costs.
        fixed: bytes whatever the rows.
        off: the largest distance of a measured peak from the line, as a share of the peak; large
            where memory does not grow by the row.
    """

    per_row: float
    fixed: float
    off: float


def fit_line(rows: Sequence[int], peaks: Sequence[int]) -> Line:
    """The line of least squares through peaks of three sizes or more."""
    per_row, fixed = np.polyfit(rows, peaks, 1)
    off = np.abs(fixed + per_row * np.asarray(rows) - peaks) / peaks
    return Line(float(per_row), float(fixed), float(off.max()))


def measure_peaks(
    device: str, contender: str, workloads: Sequence[Workload], checked: bool = False
) -> list[dict]:
    """Run a contender once on each workload, in a new process.

    Args:
        device: "cuda" or "cpu".
        contender: its name among the workloads' contenders.
        workloads: of one kind, in growing size.
        checked: time and check each run, too.

    Returns:
        A dictionary a workload: `title`, `rows`, `status`, and `peak` in bytes or `why` there is
        none; with `checked` also `seconds` and `errors`.
    """
    task = {
        "device": device,
        "contender": contender,
        "checked": checked,
        "workloads": [as_dict(workload) for workload in workloads],
    }
    command = [sys.executable, "-m", __spec__.name, json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=KERNELS)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for workload in workloads[len(results) :]:  # the process ended before it came to them
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        why = f"the process ended with status {done.returncode}: {lines[-1]}"
        results.append({**_about(workload), "status": "failed", "why": why})
    return results


def child(task: dict) -> None:
    """Measure, and print one line of JSON a workload as soon as it is known."""
    device = open_device(task["device"])
    for sizes in task["workloads"]:
        workload = from_dict(sizes)
        contender = next(c for c in workload.contenders() if c.name == task["contender"])
        peak = attempt(device, _peak, device, workload, contender, task["checked"])
        if isinstance(peak, Failure):
            peak = {"status": peak.status, "why": peak.why}
        print(json.dumps(_about(workload) | peak), flush=True)
        device.free_memory()


def _peak(device: Device, workload: Workload, contender: Contender, checked: bool) -> dict:
    small = workload.small()  # loads the kernels and libraries, which take memory too
    contender.prepare(small.inputs(device, seed=0))()
    device.finish()
    device.free_memory()

    before = device.taken()
    inputs = workload.inputs(device, seed=0)
    device.free_memory()
    outputs: list[tuple] = []
    with poisoned_outputs():
        work = contender.prepare(inputs)
        seconds = device.seconds(lambda: outputs.append(work()))
    result = {"status": "ok", "peak": device.most_taken() - before}
    if checked:
        errors = workload.judge(device, inputs)(outputs[0])
        if any(error.wrong for error in errors.values()):
            result["status"] = "WRONG"
        result |= {"seconds": seconds, "errors": as_json(errors)}
    return result


def _about(workload: Workload) -> dict:
    return {"title": workload.title, "rows": workload.rows}


if __name__ == "__main__":
    child(json.loads(sys.argv[1]))

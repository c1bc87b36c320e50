"""One workload, measured: every contender is checked, and those that are right take turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from minivlm_kernels.arrays import poisoned_outputs
from minivlm_kernels.benchmark.accuracy import Error
from minivlm_kernels.benchmark.device import Device
from minivlm_kernels.benchmark.timing import (
    Contender,
    Failure,
    Inputs,
    Schedule,
    Times,
    attempt,
    blaming,
    time_in_turn,
)
from minivlm_kernels.benchmark.workloads import Workload

Judge = Callable[[tuple], dict[str, Error]]

SETS = 3  # of inputs, in rotation


def measure(
    workload: Workload,
    contenders: Sequence[Contender],
    device: Device,
    schedule: Schedule,
    entries: list[dict],
) -> None:
    """Check and time contenders on one workload.

    Args:
        workload: what they are to do.
        contenders: rungs and rivals.
        device: where.
        schedule: how often.
        entries: gets one dictionary a contender, as they are checked, for JSON: `name`, `ours`,
            `status` ("ok", "WRONG", "out of memory", "not supported" or "failed") and `why`,
            `errors` and, once it was timed, `seconds`. Whoever interrupts finds what there is.
    """
    sets = attempt(device, _input_sets, workload, device)
    if isinstance(sets, Failure):
        entries += [_failed(contender, sets) for contender in contenders]
        return
    judge = workload.judge(device, sets[0])
    racing = []
    for contender in contenders:
        with blaming(contender):
            entry = _checked(contender, device, sets[0], judge)
        entries.append(entry)
        if entry["status"] == "ok":
            racing.append(contender)
        device.free_memory()
    seconds: dict[str, list[float]] = {contender.name: [] for contender in racing}
    try:
        failures = time_in_turn(device, racing, sets, schedule, seconds)
        for entry in entries:
            if entry["name"] in failures:
                failure = failures[entry["name"]]
                entry |= {"status": failure.status, "why": f"while timed: {failure.why}"}
    finally:
        for entry in entries:
            if seconds.get(entry["name"]) and entry["status"] == "ok":
                entry["seconds"] = Times.of(seconds[entry["name"]])._asdict()


def _checked(contender: Contender, device: Device, inputs: Inputs, judge: Judge) -> dict:
    """The contender's entry, after one run into outputs that were NaN before."""
    errors = attempt(device, _errors, contender, inputs, judge)
    if isinstance(errors, Failure):
        return _failed(contender, errors)
    entry = {"name": contender.name, "ours": contender.ours, "status": "ok"}
    entry["errors"] = as_json(errors)
    wrong = [
        f"{name} is off by {error.value:.1e}, and {error.tolerance:.0e} is allowed"
        for name, error in errors.items()
        if error.wrong
    ]
    # A rival rounds where it likes, as its users know; its error is shown and not judged.
    if wrong and contender.ours:
        entry |= {"status": "WRONG", "why": "; ".join(wrong)}
    return entry


def _input_sets(workload: Workload, device: Device) -> list[Inputs]:
    return [workload.inputs(device, seed) for seed in range(SETS)]


def _errors(contender: Contender, inputs: Inputs, judge: Judge) -> dict[str, Error]:
    with poisoned_outputs():
        return judge(contender.prepare(inputs)())


def as_json(errors: dict[str, Error]) -> dict[str, dict[str, float | None]]:
    """Errors for JSON, which has no NaN: None stands for it."""
    return {
        name: {
            "value": error.value if math.isfinite(error.value) else None,
            "tolerance": error.tolerance,
        }
        for name, error in errors.items()
    }


def _failed(contender: Contender, failure: Failure) -> dict:
    return {
        "name": contender.name,
        "ours": contender.ours,
        "status": failure.status,
        "why": failure.why,
    }

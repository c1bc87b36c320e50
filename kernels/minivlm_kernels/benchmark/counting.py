"""What kernels do, counted while they are emulated: operations, exponentials, bytes, conflicts.

A count holds for every GPU. The executor counts the arithmetic of `.cu` files, and the bytes that
they copy to shared memory and write at the end; the stepper counts all reads and writes of Numba's
kernels, element by element. Both count what threads ask for, before any cache.
"""

from __future__ import annotations

from collections.abc import Sequence

from minivlm_kernels import stepper
from minivlm_kernels.benchmark.device import Device
from minivlm_kernels.benchmark.timing import Contender, Inputs
from minivlm_kernels.benchmark.workloads import Workload
from minivlm_kernels.cuda import cpu


def count(
    workload: Workload, contenders: Sequence[Contender], device: Device, entries: list[dict]
) -> None:
    """Run each rung that was right once more, and put into its entry what was counted.

    Args:
        workload: what is done.
        contenders: of whom the rungs are counted.
        device: the CPU.
        entries: of the contenders; get `counts`, of which there may be `operations`,
            `exponentials`, bytes `global` and `shared`, and `conflicts`.
    """
    inputs = workload.inputs(device, seed=0)
    for contender, entry in zip(contenders, entries, strict=True):
        if contender.ours and entry["status"] == "ok":
            entry["counts"] = _counted(contender, inputs)


def _counted(contender: Contender, inputs: Inputs) -> dict[str, float]:
    work = contender.prepare(inputs)  # a forward pass, maybe, which is not counted
    with stepper.watch() as log, cpu.counted() as counts:
        work()
    return _of_numba(log) if log.launches else _of_cuda(counts)


def _of_numba(log: stepper.Log) -> dict[str, float]:
    return {
        space: sum(
            launch.bytes_read(space) + launch.bytes_written(space) for launch in log.launches
        )
        for space in ("global", "shared")
    }


def _of_cuda(counts: cpu.Counts) -> dict[str, float]:
    counted: dict[str, float] = {
        "operations": 2 * (counts.tensor_multiply_adds + counts.multiply_adds),
        "exponentials": counts.exponentials,
        "global": counts.bytes_to_shared + counts.bytes_put,
    }
    if counts.matrix_loads:
        counted["conflicts"] = counts.conflict_degree
    return counted

"""A kernel is run for an exercise: one step at a time, and then on a GPU, if one is asked for.

The stepper names what a GPU would not: races, barriers that not all threads reach, indices out of
bounds. It also counts what a kernel reads, for some give the right numbers and read them from the
wrong memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import cuda

from minivlm.device import to_device, to_host
from minivlm_kernels import stepper
from minivlm_kernels.arrays import poisoned_outputs

_devices = ["cpu"]  # where kernels run: all step by step here, and then on those that follow


@dataclass(frozen=True)
class Ran:
    """What came of a function that launches kernels.

    Attributes:
        results: its arrays, on the host; NaN where no thread has written.
        log: what the stepper saw.
    """

    results: tuple[np.ndarray, ...]
    log: stepper.Log

    def reads(self, argument: int, launch: int = 0) -> int:
        """How often the threads of a launch read an element of one of its arrays.

        Args:
            argument: which of the arrays that the kernel was given, from 0.
            launch: which launch, from 0.
        """
        return list(self.log.launches[launch].arrays.values())[argument].reads

    def most_written(self, argument: int) -> int:
        """How many elements of an array the busiest thread of the first launch has written.

        Args:
            argument: which of the arrays that the kernel was given, from 0.
        """
        name = list(self.log.launches[0].arrays)[argument]
        written: dict[object, set[object]] = {}
        for event in self.log.select(launch=0, array=name, kind="write"):
            written.setdefault((event.block, event.thread), set()).add(event.index)
        return max(map(len, written.values()), default=0)


def run(
    function: Callable,
    *inputs: np.ndarray | bool | None,
    events: bool = False,
    **options: object,
) -> Ran:
    """Call a function that launches kernels.

    Args:
        function: a rung's `forward` or `backward`.
        *inputs: what it is given.
        events: keep what `most_written` counts.
        **options: given to the function by name.
    """
    with poisoned_outputs():
        with stepper.watch(events=events) as log:
            results = function(*inputs, **options)
        for device in _devices[1:]:
            results = function(*(_placed(given, device) for given in inputs), **options)
    several = results if isinstance(results, tuple) else (results,)
    return Ran(tuple(map(to_host, several)), log)


def use(device: str) -> None:
    """From here on, what has been stepped through is computed again on "cuda", or only on "cpu"."""
    _devices[1:] = [device] if device != "cpu" else []


def tiles(size: int, tile: int) -> int:
    """How many tiles it takes."""
    return -(-size // tile)


@cuda.jit
def _first_of_all():
    """Nothing: at a process's first kernel Numba looks for libraries, as no graded file may."""


def _placed(given: np.ndarray | bool | None, device: str) -> object:
    return to_device(given, device) if isinstance(given, np.ndarray) else given

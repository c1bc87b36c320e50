"""How long contenders take, one beside the other.

A GPU's clock falls as it warms up, so that whoever is measured last looks slow. Here every round
gives each contender one turn, in an order that rotates; medians over the rounds are compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from minivlm.tensor import Array
from minivlm_kernels.benchmark.device import Device, DeviceLost

FEW = 5  # repetitions that a contender has at least, however slow


@dataclass(frozen=True)
class Inputs:
    """One set of random inputs, seen both ways: tensors for PyTorch, arrays for rungs."""

    tensors: dict[str, torch.Tensor]
    arrays: dict[str, Array]


@dataclass(frozen=True)
class Contender:
    """Something to measure: a rung of ours, or what PyTorch has.

    Attributes:
        name: what it is called in tables.
        ours: a rung, which must pass its check before it is timed.
        prepare: makes what is not measured (a forward pass, for a backward one) and returns the
            work, whose outputs are named by the workload.
    """

    name: str
    ours: bool
    prepare: Callable[[Inputs], Callable[[], tuple]]


@dataclass(frozen=True)
class Schedule:
    """How often.

    Attributes:
        warm_ups: rounds that are not counted.
        repeats: rounds that are.
        patience: seconds after which a slow contender has had enough turns.
    """

    warm_ups: int = 3
    repeats: int = 20
    patience: float = 15.0


@dataclass(frozen=True)
class Failure:
    """Why a contender gave no result: "out of memory", "not supported" or "failed", and more."""

    status: str
    why: str


class Times(NamedTuple):
    """Seconds: the median, and the range of the middle half of all repetitions."""

    median: float
    spread: float
    repeats: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        """A summary of one repetition or more."""
        if len(seconds) == 1:
            return cls(seconds[0], 0.0, 1)
        lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, upper - lower, len(seconds))


def time_in_turn(
    device: Device,
    contenders: Sequence[Contender],
    sets: Sequence[Inputs],
    schedule: Schedule,
    seconds: dict[str, list[float]],
) -> dict[str, Failure]:
    """Run all contenders round by round, each round on the next set of inputs.

    Args:
        device: whose clock is read.
        contenders: who takes part.
        sets: inputs that are larger, together, than the caches.
        schedule: how many rounds.
        seconds: gets the times of every contender, as they come, so that whoever interrupts finds
            what was measured.

    Returns:
        Who failed on the way, and why; they take no further turns.
    """
    racing = list(contenders)
    failures: dict[str, Failure] = {}
    for turn in range(schedule.warm_ups + schedule.repeats):
        for contender in _rotated(racing, turn):
            with blaming(contender):
                took = attempt(device, _turn, device, contender, sets[turn % len(sets)])
            if isinstance(took, Failure):
                failures[contender.name] = took
                racing.remove(contender)
                continue
            if turn < schedule.warm_ups:
                continue
            mine = seconds[contender.name]
            mine.append(took)
            if len(mine) >= FEW and sum(mine) > schedule.patience:
                racing.remove(contender)
    return failures


@contextmanager
def blaming(contender: Contender) -> Iterator[None]:
    """Within, a device that is lost was lost by this contender, and the error says so."""
    try:
        yield
    except DeviceLost as error:
        raise DeviceLost(f"{contender.name}: {error}") from None


def attempt(device: Device, work: Callable[..., Any], *arguments: object) -> Any:
    """What work(*arguments) gives, or a `Failure` that says why it gives nothing.

    Raises:
        DeviceLost: after the failure, the device is not usable any more.
    """
    try:
        result = work(*arguments)
        device.finish()
        return result
    except DeviceLost:
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        failure = Failure("out of memory", _first_line(error))
    except Exception as error:  # whatever it is, the others shall still be measured
        refused = "No available kernel" in str(error) or "No viable backend" in str(error)
        failure = Failure("not supported" if refused else "failed", _first_line(error))
    device.finish()
    device.free_memory()
    return failure


def _rotated(racing: list[Contender], turn: int) -> list[Contender]:
    first = turn % max(len(racing), 1)
    return racing[first:] + racing[:first]


def _turn(device: Device, contender: Contender, inputs: Inputs) -> float:
    return device.seconds(contender.prepare(inputs))


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]

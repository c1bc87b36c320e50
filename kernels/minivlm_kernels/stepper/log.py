"""What a stepper saw: reads and writes by array, findings, and, if asked for, every event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

from minivlm_kernels.stepper.findings import Finding
from minivlm_kernels.stepper.places import (
    ATOMIC,
    GLOBAL,
    READ,
    SHARED,
    Dim,
    Index,
    Moment,
    Place,
)

MOST_EVENTS = 200_000  # some 30 MB


class LogFull(Exception):
    """More events than the log was to keep."""


@dataclass(slots=True)
class Event:
    """A thread reads, writes or atomically updates an element, or waits at a barrier.

    Attributes:
        launch: which of the log's launches.
        block: index along x, y, z.
        thread: index along x, y, z.
        interval: how many barriers the block had passed.
        kind: "read", "write", "atomic" or "barrier".
        space: "global", "shared" or, for a barrier, "".
        array: what the kernel calls it.
        index: of the element.
        line: of the kernel's file.
    """

    launch: int
    block: Dim
    thread: Dim
    interval: int
    kind: str
    space: str
    array: str
    index: Index
    line: int


@dataclass
class Traffic:
    """How often the threads of a launch read and wrote an array.

    Attributes:
        array: what the kernel calls it.
        space: "global" or "shared".
        itemsize: bytes of an element.
        reads: elements read.
        writes: elements written.
        atomics: elements updated by an atomic operation.
        read_at: addresses of the elements that were read, each once.
        written_at: addresses of those written or updated.
    """

    array: str
    space: str
    itemsize: int
    reads: int = 0
    writes: int = 0
    atomics: int = 0
    read_at: set[int] = field(default_factory=set, repr=False)
    written_at: set[int] = field(default_factory=set, repr=False)

    def count(self, kind: str, address: int) -> None:
        """One more access."""
        if kind == READ:
            self.reads += 1
            self.read_at.add(address)
        else:
            self.written_at.add(address)
            if kind == ATOMIC:
                self.atomics += 1
            else:
                self.writes += 1

    @property
    def reuse(self) -> float:
        """How often an element was read that was read at all."""
        return self.reads / max(len(self.read_at), 1)


@dataclass
class Launch:
    """One launch of a kernel.

    Attributes:
        kernel: its name, after the names of the functions that it is in.
        place: where it begins.
        grid: blocks along x, y, z.
        block: threads along x, y, z.
        arrays: the traffic by the arrays' names.
        barriers: how often all threads of a block met at a barrier, in all blocks.
    """

    kernel: str
    place: Place
    grid: Dim
    block: Dim
    arrays: dict[str, Traffic] = field(default_factory=dict)
    barriers: int = 0

    def begin_counting(self, array: str, space: str, itemsize: int) -> None:
        """The launch has this array, even if no thread should touch it."""
        self.arrays.setdefault(array, Traffic(array, space, itemsize))

    def reads(self, space: str = GLOBAL) -> int:
        """Elements read from global or shared memory."""
        return self._total(space, lambda traffic: traffic.reads)

    def writes(self, space: str = GLOBAL) -> int:
        """Elements written, atomic updates not among them."""
        return self._total(space, lambda traffic: traffic.writes)

    def bytes_read(self, space: str = GLOBAL) -> int:
        """As the threads asked for them: a GPU's caches would save some."""
        return self._total(space, lambda traffic: traffic.reads * traffic.itemsize)

    def bytes_written(self, space: str = GLOBAL) -> int:
        """As the threads asked for them."""
        return self._total(space, lambda traffic: traffic.writes * traffic.itemsize)

    def _total(self, space: str, number: Callable[[Traffic], int]) -> int:
        return sum(number(traffic) for traffic in self.arrays.values() if traffic.space == space)

    def table(self) -> str:
        """The traffic as lines of text; "elements" are the different ones that were read."""
        blocks = max(1, self.grid.x * self.grid.y * self.grid.z)
        lines = [
            f"{self.kernel}, {self.grid} blocks of {self.block} threads, "
            f"{self.barriers / blocks:g} barriers a block",
            _row("array", "memory", "reads", "elements", "reads each", "writes", "atomics"),
        ]
        for t in self.arrays.values():
            numbers = t.reads, len(t.read_at), round(t.reuse, 1), t.writes, t.atomics
            lines.append(_row(t.array, t.space, *(f"{number:,}" for number in numbers)))
        for space in (GLOBAL, SHARED):
            read, written = self.bytes_read(space), self.bytes_written(space)
            if read or written:
                lines.append(f"    {space} memory: {read:,} bytes read, {written:,} written")
        return "\n".join(lines)


def _row(array: str, space: str, *columns: str) -> str:
    return f"    {array:<16}{space:<8}" + "".join(f"{column:>11}" for column in columns)


class Log:
    """Everything that was seen while the stepper ran kernels.

    Attributes:
        launches: what each launch read and wrote, in order.
        findings: what was found; with `stop`, at most one.
        events: each access and each barrier, in the order in which they were stepped through.
    """

    def __init__(self, stop: bool = True, events: bool | int = False):
        """An empty log.

        Args:
            stop: raise the first finding at once; otherwise all are collected.
            events: keep events; a number says how many at most.
        """
        self.launches: list[Launch] = []
        self.findings: list[Finding] = []
        self.events: list[Event] = []
        self._stop = stop
        self._most = MOST_EVENTS if events is True else int(events)
        self.keeps_events = self._most > 0

    def report(self, finding: Finding) -> None:
        """Raise the finding, or keep it; the same lines about the same array are one finding."""
        for known in self.findings:
            if known.key == finding.key:
                known.times += 1
                break
        else:
            self.findings.append(finding)
        if self._stop:
            raise finding

    def record(
        self,
        moment: Moment,
        kind: str,
        line: int,
        space: str = "",
        array: str = "",
        index: Index = (),
    ) -> None:
        """Keep an event of the launch that runs; see `Event`.

        Raises:
            LogFull: it is one too many.
        """
        if len(self.events) == self._most:
            raise LogFull(
                f"the log is full with {self._most:,} events: step through smaller arrays, or let "
                f"it keep more, as in watch(events={10 * self._most:_})"
            )
        launch = len(self.launches) - 1
        at = moment.block, moment.thread, moment.interval
        self.events.append(Event(launch, *at, kind, space, array, index, line))

    def select(self, **where) -> list[Event]:
        """The events with these values, such as array="q", block=(0, 0, 0), kind="read"."""
        if not self.keeps_events:
            raise ValueError("this log kept no events; watch(events=True) makes one that does")
        names = [each.name for each in fields(Event)]
        unknown = sorted(where.keys() - set(names))
        if unknown:
            raise ValueError(f"an event has no {unknown[0]}; it has {', '.join(names)}")
        wanted = where.items()
        return [e for e in self.events if all(getattr(e, name) == value for name, value in wanted)]

    def touched(self, array: str, **where) -> list[Index]:
        """Which elements of an array were touched, by whom and when `where` says; sorted."""
        return sorted({event.index for event in self.select(array=array, **where)})

    def summary(self) -> str:
        """All launches and findings, as text to print."""
        parts = [f"launch {i}: {launch.table()}" for i, launch in enumerate(self.launches)]
        for finding in self.findings:
            times = f" ({finding.times} times)" if finding.times > 1 else ""
            parts.append(f"{type(finding).__name__}{times}: {finding}")
        return "\n".join(parts + ([] if self.findings else ["nothing found"]))

"""Arrays that kernels index, and that see each access: bounds, races, what was never written."""

from __future__ import annotations

import copy
import operator
import sys
from collections.abc import Callable
from types import FrameType

import numpy as np

from minivlm_kernels.stepper.findings import OutOfBounds, Race, Uninitialised
from minivlm_kernels.stepper.log import Launch, Log
from minivlm_kernels.stepper.places import (
    ATOMIC,
    GLOBAL,
    LOCAL,
    READ,
    SHARED,
    WRITE,
    Access,
    Home,
    Index,
    Moment,
)
from minivlm_kernels.stepper.races import Accesses

# What a debugger evaluates is compiled under these names; it looks, but does not take part.
BY_HAND = ("<string>", "<stdin>")

SHARED_BYTES = 48 * 1024  # of a block, at most, where a launch does not ask for more


class Memory:
    """What the threads of one launch share.

    Attributes:
        moment: the thread that runs now.
    """

    moment: Moment

    def __init__(self, launch: Launch, log: Log):
        self.launch = launch
        self.log = log
        self._by_thread = Accesses(by=lambda moment: moment)
        self._by_block = Accesses(by=lambda moment: moment.block)
        self._shared: dict[object, Tracked] = {}
        self._shared_bytes = 0
        self._unwritten: dict[int, Access] = {}
        self._lines: dict[tuple[int, int], int] = {}

    def given(self, name: str, argument: object) -> object:
        """An argument as the kernel sees it: arrays are tracked, scalars stay."""
        if not isinstance(argument, np.ndarray):
            if hasattr(argument, "__cuda_array_interface__"):
                raise TypeError(
                    f"the stepper runs kernels on the host, and {name} is on the GPU; "
                    f"give it NumPy arrays"
                )
            return argument
        address = argument.__array_interface__["data"][0]
        return self._tracked(GLOBAL, name, np.asarray(argument), address)

    def shared(self, call: object, name: str, shape: int | Index, dtype: np.dtype) -> Tracked:
        """The block's array for this call; the first thread that gets here makes it."""
        if call not in self._shared:
            data = _poisoned(shape, dtype)
            self._shared[call] = self._tracked(SHARED, name, data, self._shared_bytes)
            self._shared_bytes += data.nbytes
            if self._shared_bytes > SHARED_BYTES:
                raise ValueError(
                    f"with {name} {data.shape}, the shared arrays of kernel {self.launch.kernel} "
                    f"take {self._shared_bytes:,} bytes, and a block has no more than "
                    f"{SHARED_BYTES:,}"
                )
        return self._shared[call]

    def local(self, name: str, shape: int | Index, dtype: np.dtype) -> Tracked:
        """An array of the thread's own."""
        return self._tracked(LOCAL, name, _poisoned(shape, dtype), 0)

    def _tracked(self, space: str, name: str, data: np.ndarray, address: int) -> Tracked:
        if space != LOCAL:
            self.launch.begin_counting(name, space, data.itemsize)
        return Tracked(self, Home(self.launch.kernel, space, name, data.shape), data, address)

    def begin_block(self) -> None:
        """Shared memory belongs to one block; global memory remembers the earlier ones."""
        self._shared.clear()
        self._shared_bytes = 0

    def end_interval(self) -> None:
        """All threads of the block have met: what they did comes before what they will do."""
        self._by_thread.clear()
        unwritten, self._unwritten = self._unwritten, {}
        for access in unwritten.values():
            self.log.report(Uninitialised(access))

    def see(self, access: Access, address: int, written: set[int] | None) -> None:
        """Count an access, and compare it to what others did.

        An unwritten element of shared memory is reported only when the block's threads next meet:
        until then another thread may write it, and then it is a race.

        Args:
            access: what a thread does, in bounds.
            address: of the element.
            written: the addresses that were written, of an array that began without content.
        """
        kind, moment, home, at, *_ = access
        if written is not None:
            if kind != WRITE and address not in written:
                if home.space == LOCAL:
                    self.log.report(Uninitialised(access))
                else:
                    self._unwritten.setdefault(address, access)
            if kind != READ:
                written.add(address)
        if home.space == LOCAL:
            return
        self.launch.arrays[home.array].count(kind, address)
        if self.log.keeps_events:
            self.log.record(moment, kind, self._line(access), home.space, home.array, at)
        rival = self._by_thread.meet(address, access)
        if home.space == GLOBAL:
            rival_block = self._by_block.meet(address, access)
            rival = rival or rival_block
        if rival is not None:
            self._unwritten.pop(address, None)
            self.log.report(Race(rival, access))

    def _line(self, access: Access) -> int:
        """The line of the access, looked up once for each instruction."""
        instruction = id(access.code), access.offset
        if instruction not in self._lines:
            self._lines[instruction] = access.place.line
        return self._lines[instruction]


class Tracked:
    """An array, or with a `prefix` a part of it, as a kernel sees it."""

    __iter__ = None  # kernels index; without this, Python would count up until it is out of bounds

    def __init__(self, memory: Memory, home: Home, data: np.ndarray, address: int):
        """All of an array.

        Args:
            memory: is told of each access.
            home: what the kernel knows of it.
            data: the numbers.
            address: of the first number, in bytes; arrays that overlap have common addresses.
        """
        self.memory = memory
        self.home = home
        self.data = data
        self.address = address
        self.prefix: Index = ()
        self.written: set[int] | None = None if home.space == GLOBAL else set()

    @property
    def shape(self) -> Index:
        """Sizes along the axes."""
        return self.data.shape[len(self.prefix) :]

    @property
    def ndim(self) -> int:
        """How many axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many elements."""
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> np.dtype:
        """Of an element."""
        return self.data.dtype

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        shown = self.data[self.prefix]
        return f"{self.home.space} array {self.home.array}, {shown.dtype} {shown.shape}\n{shown}"

    def __getitem__(self, index: int | Index) -> np.generic | Tracked:
        frame = sys._getframe(1)
        if frame.f_code.co_filename in BY_HAND:
            return self.data[self.prefix + _tuple(index)]
        full = self._full(index)
        if len(full) < self.data.ndim:
            part = copy.copy(self)
            part.prefix = full
            return part
        if not self._access(READ, full, frame):
            return _poison(self.dtype)
        return self.data[full]

    def __setitem__(self, index: int | Index, value: object) -> None:
        frame = sys._getframe(1)
        if frame.f_code.co_filename in BY_HAND:
            self.data[self.prefix + _tuple(index)] = value
            return
        full = self._element(index)
        if self._access(WRITE, full, frame):
            self.data[full] = value

    def update(
        self, index: int | Index, change: Callable, value: object, frame: FrameType
    ) -> np.generic:
        """Atomically make an element `change(element, value)`; gives what it was before.

        Args:
            index: of the element.
            change: what becomes of two numbers.
            value: the second number.
            frame: of the kernel, which asks for it.
        """
        full = self._element(index)
        if not self._access(ATOMIC, full, frame):
            return _poison(self.dtype)
        before = self.data[full]
        self.data[full] = change(before, value)
        return before

    def _full(self, index: int | Index) -> Index:
        """The index in the whole array."""
        try:
            full = self.prefix + tuple(map(operator.index, _tuple(index)))
        except TypeError:
            raise TypeError(
                f"{self.home.array} is indexed by {index}; the stepper's arrays take integers, one "
                f"for each axis, and neither slices nor other arrays"
            ) from None
        if len(full) > self.data.ndim:
            raise TypeError(f"{self.home.array} of shape {self.data.shape} is indexed by {full}")
        return full

    def _element(self, index: int | Index) -> Index:
        full = self._full(index)
        if len(full) < self.data.ndim:
            raise TypeError(
                f"{self.home.array}{list(full)} of shape {self.shape[len(full) :]} is assigned to "
                f"as a whole; a kernel writes one element at a time"
            )
        return full

    def _access(self, kind: str, index: Index, frame: FrameType) -> bool:
        """Tell the memory of an access; False if there is no such element."""
        moment = self.memory.moment
        access = Access(kind, moment, self.home, index, frame.f_code, frame.f_lasti)
        address = self.address
        for i, size, stride in zip(index, self.data.shape, self.data.strides, strict=True):
            if not 0 <= i < size:
                self.memory.log.report(OutOfBounds(access))
                return False
            address += i * stride
        self.memory.see(access, address, self.written)
        return True


def _tuple(index: int | Index) -> Index:
    return index if isinstance(index, tuple) else (index,)


def _poison(dtype: np.dtype) -> np.generic:
    """What stands where nothing was written: NaN, which spreads, or 0 where there is no NaN."""
    has_nan = dtype.kind in "fcV"  # V is what NumPy calls bfloat16
    return dtype.type(np.nan if has_nan else 0)


def _poisoned(shape: int | Index, dtype: np.dtype) -> np.ndarray:
    return np.full(shape, _poison(dtype), dtype)

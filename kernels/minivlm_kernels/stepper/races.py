"""Who touched which element, and who else did without an order between them."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from minivlm_kernels.stepper.places import ATOMIC, READ, WRITE, Access, Moment

# Two reads may come in any order, and so may two atomic updates.
RIVALS = {READ: (WRITE, ATOMIC), WRITE: (READ, WRITE, ATOMIC), ATOMIC: (READ, WRITE)}
NOBODY: dict[Hashable, Access] = {}


class Accesses:
    """The first access of each kind to each element, by whoever made it.

    A race found here does not depend on the order in which the stepper runs the threads: whichever
    of two threads comes second meets the first.
    """

    def __init__(self, by: Callable[[Moment], Hashable]):
        """Nobody has touched anything yet.

        Args:
            by: those of whom a first access stands for all: a thread between two barriers,
                or a block.
        """
        self.by = by
        self.first: dict[str, dict[int, dict[Hashable, Access]]] = {kind: {} for kind in RIVALS}

    def meet(self, address: int, access: Access) -> Access | None:
        """Remember an access; gives an earlier one that it races with."""
        group = self.by(access.moment)
        self.first[access.kind].setdefault(address, {}).setdefault(group, access)
        for kind in RIVALS[access.kind]:
            for earlier in self.first[kind].get(address, NOBODY).values():
                if earlier.moment.unordered(access.moment):
                    return earlier
        return None

    def clear(self) -> None:
        """All that happened comes before what will."""
        for elements in self.first.values():
            elements.clear()

"""A measured share, with what guessing would give and how far chance alone moves it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """How often something was right.

    Attributes:
        name: what was measured.
        value: the share that was right, 0..1.
        chance: the share that guessing would get right.
        count: how many were asked.
    """

    name: str
    value: float
    chance: float
    count: int

    @property
    def standard_error(self) -> float:
        """How far the value is, typically, from what infinitely many questions would give."""
        return math.sqrt(self.value * (1 - self.value) / self.count)

    @classmethod
    def of_hits(cls, name: str, hits: Sequence[float] | np.ndarray, chance: float) -> "Score":
        """The mean of hits: 1 for right, 0 for wrong, 0.5 for a tie of two."""
        if not len(hits):
            raise ValueError(f"{name}: nothing was asked")
        return cls(name, float(np.mean(hits)), chance, len(hits))

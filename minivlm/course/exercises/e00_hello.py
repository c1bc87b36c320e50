"""What is computed for E00: the sizes of a few modules, with parts and shared parameters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course.record import Case, Outputs
from minivlm.nn.module import Module, parameter


class Part(Module):
    """A few parameters, which may be another part's as well."""

    def __init__(self, arrays: list[np.ndarray], parts: list[Part], shared: bool):
        self.weights = [parameter(array) for array in arrays]
        self.parts = parts
        self.again = self.weights[:1] if shared else []


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """A matrix; a scalar among others; parts of parts, a shared parameter."""
    yield {"shapes": [[(3, 5)]], "shared": False}
    yield {"shapes": [[(4, 2, 3), ()], [(7,)], [(1, 6)]], "shared": False}
    size = int(rng.integers(2, 9))
    yield {"shapes": [[(size, 3)], [(2, size), (5,)]], "shared": True}


def run(case: Case) -> Outputs:
    """The number of numbers."""
    whole = None
    for shapes in case["shapes"]:
        arrays = [np.zeros(shape) for shape in shapes]
        whole = Part(arrays, [whole] if whole else [], case["shared"])
    assert whole is not None
    return {"size": np.array(int(whole.size()))}  # `np.prod(())` is 1.0

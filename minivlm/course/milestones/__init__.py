"""Five models that the exercises add up to: each is trained here, in a minute, and shows a picture.

A milestone runs where the student's functions stand in the library's places. None of these files
knows of that: they use the library by its usual names.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from minivlm.errors import InputError

MODULES = {
    "M1": "m1_shapes",
    "M2": "m2_vit",
    "M3": "m3_diagonal",
    "M4": "m4_llava",
    "M5": "m5_kernel",
}


class Milestone(Protocol):
    """What each of the files has."""

    TITLE: str
    AFTER: str  # the part, "A" … "E", whose exercises it needs, with all parts before

    @staticmethod
    def run(pictures: Path, say: Callable[[str], None], rng: np.random.Generator) -> bool:
        """Train, tell, draw.

        Args:
            pictures: the folder to draw into.
            say: prints a line.
            rng: decides everything.

        Returns:
            Whether the model does what the milestone promises.
        """
        ...


def find(text: str) -> str:
    """The id of the milestone that a user means by "M2", "m2" or "2".

    Raises:
        InputError: there is none.
    """
    match = re.fullmatch(r"[mM]?(\d)", text)
    id = f"M{match[1]}" if match else ""
    if id not in MODULES:
        raise InputError(f"there is no milestone {text!r}; they are M1 to M{len(MODULES)}")
    return id


def load(id: str) -> Milestone:
    """The milestone of that id."""
    return importlib.import_module(f"{__name__}.{MODULES[id]}")  # type: ignore

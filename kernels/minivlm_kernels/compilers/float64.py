"""No kernel computes in float64, which most GPUs do 32 or 64 times more slowly than float32.

In Python it slips in unseen: a sum that begins with `0.0` is float32 in Numba's simulator, as NumPy
has it, and float64 on a GPU.
"""

from __future__ import annotations

import re

FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"(.*?)"', re.MULTILINE)
LINE = re.compile(r"^\s*\.loc\s+(\d+)\s+(\d+)")
DOUBLE = re.compile(r"\.f64\b")


def has_float64(ptx: str) -> bool:
    """Whether any instruction, register or parameter is float64."""
    return DOUBLE.search(ptx) is not None


def find_float64(ptx: str) -> str:
    """Where it is, of a text with `.loc` directives: "a1_naive.py line 92 (fma.rn.f64)".

    A constant is moved to wherever the compiler likes, so the first instruction is named that
    computes.
    """
    files = dict(FILE.findall(ptx))
    found = []
    place = "an unknown line"
    for text in ptx.splitlines():
        line = LINE.match(text)
        if line:
            path = files.get(line[1], "?")
            place = f"{path.rpartition('/')[2]} line {line[2]}"
        elif DOUBLE.search(text) and not text.lstrip().startswith("."):
            instruction = next(word for word in text.split() if DOUBLE.search(word))
            found.append((instruction.startswith("mov"), f"{place} ({instruction})"))
    return min(found, key=lambda entry: entry[0])[1] if found else "a parameter"

"""A floating-point number bit by bit: its sign, its exponent, its fraction; and bfloat16.

A float32 is (−1)^sign · 1.fraction₂ · 2^(exponent − 127). A bfloat16 is its upper half: the same
range, and 7 bits of fraction rather than 23.

Source: IEEE 754-2019; bfloat16 in training, Kalamkar et al. 2019, arXiv:1905.12322.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minivlm.viz.style import BLUE, GREEN, ORANGE
from minivlm.viz.svg import Drawing

FORMATS = {"float32": (8, 23), "float16": (5, 10), "bfloat16": (8, 7)}
"""Bits of the exponent and of the fraction."""
CELL, ROW, LEFT, RIGHT, TOP = 19.0, 50.0, 84.0, 150.0, 30.0


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 of each float32, as float32; halfway, the one with an even last bit.

    Args:
        x: finite numbers or infinities, float32.

    Raises:
        TypeError: x is not float32.
    """
    if x.dtype != np.float32:
        raise TypeError(f"bfloat16 is half a float32, and this is {x.dtype}")
    bits = x.view(np.uint32)
    last_kept = (bits >> 16) & 1
    rounded = bits + (0x7FFF + last_kept)  # more than half, or half and odd: carries upward
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def bits_of(number: float, kind: str) -> tuple[str, str, str]:
    """Sign, exponent and fraction, each a string of 0 and 1, of the nearest number of a format.

    Args:
        number: within the format's range.
        kind: a name of FORMATS.
    """
    exponent, fraction = FORMATS[kind]
    single = np.array([number], np.float32)
    if kind == "float16":
        whole = int(single.astype(np.float16).view(np.uint16)[0])
    elif kind == "bfloat16":
        whole = int(to_bfloat16(single).view(np.uint32)[0]) >> 16
    else:
        whole = int(single.view(np.uint32)[0])
    text = f"{whole:0{1 + exponent + fraction}b}"
    return text[0], text[1 : 1 + exponent], text[1 + exponent :]


def value_of(number: float, kind: str) -> float:
    """The nearest number of a format."""
    single = np.array([number], np.float32)
    if kind == "float16":
        return float(single.astype(np.float16)[0])
    return float(to_bfloat16(single)[0] if kind == "bfloat16" else single[0])


def bit_rows(rows: Sequence[tuple[float, str]]) -> Drawing:
    """Numbers as rows of bits: sign green, exponent orange, fraction blue, the value at the end.

    Args:
        rows: a number and the format that it is kept in, for each.

    Raises:
        ValueError: there is no row, or a format is unknown.
    """
    unknown = [kind for _, kind in rows if kind not in FORMATS]
    if not rows or unknown:
        raise ValueError(f"rows are numbers in {', '.join(FORMATS)}; not {unknown}")
    most = max(1 + sum(FORMATS[kind]) for _, kind in rows)
    drawing = Drawing(LEFT + most * CELL + RIGHT, TOP + ROW * len(rows), "numbers bit by bit")
    for x, words in ((0, "sign"), (1, "exponent"), (1 + FORMATS[rows[0][1]][0], "fraction")):
        drawing.text(LEFT + x * CELL, 18, words, 11, "end" if words == "sign" else "start")
    for row, (number, kind) in enumerate(rows):
        y = TOP + ROW * row
        drawing.text(LEFT - 12, y + 19, kind, anchor="end", bold=True)
        x = LEFT
        for part, color in zip(bits_of(number, kind), (GREEN, ORANGE, BLUE), strict=True):
            for bit in part:
                drawing.box(x, y, CELL, 28, color, opacity=0.65 if bit == "1" else 0.12)
                drawing.text(x + CELL / 2, y + 19, bit)
                x += CELL
        drawing.text(x + 12, y + 19, f"{value_of(number, kind):.9g}", anchor="start", bold=True)
    return drawing

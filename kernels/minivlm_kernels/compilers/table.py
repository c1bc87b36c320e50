"""The table of all figures: Markdown that is read, committed and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from minivlm_kernels.compilers.examine import ARCHS, Kernel, Table
from minivlm_kernels.compilers.figures import Figures
from minivlm_kernels.compilers.rungs import LADDERS

HEAD = """\
# Registers, spills and shared memory

What NVIDIA's compilers make of every kernel, for three generations of GPUs: sm_75 (Turing, such as
T4), sm_80 (Ampere, A100) and sm_90 (Hopper, H100 and H200). No GPU is needed to know it.

- **sm_75**, **sm_80**, **sm_90**: registers of a thread on each, at most 255; none where a rung
  asks for instructions or shared memory that came later.
- **spilled**: bytes that a thread moves to memory since its registers do not suffice. Inside the
  innermost loop that is dear.
- **stack**: bytes of a thread that lie in memory: what is spilled, and arrays that a variable
  indexes.
- **threads** of a block, and its bytes of **shared** memory, as it is launched.
- **warps** that a multiprocessor holds at once, of 64 (on sm_75 of 32). While one waits for memory,
  the others compute. A multiprocessor has 65,536 registers and 64, 164 or 228 KB of shared memory.

Where GPUs differ, `a / b` follows their order.
"""
MADE = """\
These figures belong to exactly the compilers below. To make them anew:
`python -m minivlm_kernels.compilers --write kernels/registers.md`
"""
TITLES = {"basics": "First steps", "attention": "Attention", "contrastive": "The contrastive loss"}
OTHERS = "the table was made by other compilers than these, and tells nothing of their figures"
OTHER_FIGURES = ("spilled", "stack", "threads", "shared", "warps")
VERSION = re.compile(r"^- (\S+) ([\d.]+)$", re.MULTILINE)


def render(table: Table, versions: Mapping[str, str]) -> str:
    """The whole file.

    Args:
        table: the figures.
        versions: of each compiler, by the name of its package.
    """
    parts = [HEAD]
    for ladder, letter in LADDERS.items():
        titles = ["rung", "kernel", letter, *ARCHS, *OTHER_FIGURES]
        rows = [_cells(kernel, table[kernel]) for kernel in table if kernel.ladder == ladder]
        if rows:
            parts.append(f"## {TITLES[ladder]}\n\n{_aligned([titles, *_said_once(rows)])}")
    compilers = "".join(f"- {name} {version}\n" for name, version in versions.items())
    parts.append(f"## Compilers\n\n{MADE}\n{compilers}")
    return "\n".join(parts)


def differences(committed: str, fresh: str) -> list[str]:
    """What two of `render`'s texts do not agree on, a sentence each.

    Other compilers give other figures, so where they differ, nothing else is compared.
    """
    then, now = (dict(VERSION.findall(text)) for text in (committed, fresh))
    if then != now:
        told = ", ".join(
            f"{name} {then.get(name, 'none')} (installed: {now.get(name, 'none')})"
            for name in {**then, **now}
            if then.get(name) != now.get(name)
        )
        return [f"{OTHERS}: {told}"]
    then, now = _rows(committed), _rows(fresh)
    found = [f"{row}: in the table, but there is no such kernel" for row in then if row not in now]
    for row, cells in now.items():
        if row not in then:
            found.append(f"{row}: not in the table")
            continue
        found += [
            f"{row}: {title} {cell or 'none'}, in the table {then[row].get(title) or 'none'}"
            for title, cell in cells.items()
            if cell != then[row].get(title)
        ]
    if not found and committed != fresh:
        found.append("the figures agree with the table, but the words around them do not")
    return found


def _cells(kernel: Kernel, figures: Mapping[str, Figures]) -> list[str]:
    """One row. Figures that are the same on all GPUs are told once."""
    row = [kernel.file, kernel.name, kernel.size]
    row += [str(figures[arch].registers) if arch in figures else "" for arch in ARCHS]
    for title in OTHER_FIGURES:
        values = [str(getattr(figures[arch], title)) for arch in ARCHS if arch in figures]
        row.append(values[0] if len(set(values)) == 1 else " / ".join(values))
    return row


def _said_once(rows: list[list[str]]) -> list[list[str]]:
    """A rung, and a kernel of it, is named in the first of its rows."""
    told = []
    for above, row in pairwise([["", ""], *rows]):
        file = "" if row[0] == above[0] else row[0]
        name = "" if row[:2] == above[:2] else row[1]
        told.append([file, name, *row[2:]])
    return told


def _aligned(rows: list[list[str]]) -> str:
    """A Markdown table whose columns are straight in the text too; words left, numbers right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], "-" * widths[1], *("-" * (width - 1) + ":" for width in widths[2:])]
    lines = []
    for row in [rows[0], rule, *rows[1:]]:
        words = [cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False)]
        numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append(f"| {' | '.join(words + numbers)} |\n")
    return "".join(lines)


def _rows(text: str) -> dict[str, dict[str, str]]:
    """Of a rendered table: "attention/a1_naive.py naive_forward, C = 64" to title to cell."""
    found = {}
    for ladder, title in TITLES.items():
        _, _, section = text.partition(f"## {title}\n")
        lines = [line for line in section.partition("\n## ")[0].splitlines() if "|" in line]
        table = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
        file = name = ""
        for row in table[2:]:
            file, name = row[0] or file, row[1] or name
            what = f"{ladder}/{file} {name}, {LADDERS[ladder]} = {row[2]}"
            titles = [f"registers on {word}" if word in ARCHS else word for word in table[0][3:]]
            found[what] = dict(zip(titles, row[3:], strict=True))
    return found

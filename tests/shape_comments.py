"""Hold the trailing shape comments of source files against the shapes that really occur.

A line such as `P = softmax(S)  # (B, H, T, S), rows sum to 1` claims that, once it has run,
`P.shape` has four axes, and that B, H, T and S mean one length each within the call: the one that
the function has unpacked into a variable of that name, or else the one first met. Axes may be
products, sums and whole quotients of letters and numbers (`R·T`, `N + 1`, `C/2`), whose letters
must be known by then, or they would say nothing; and `...` stands for any axes at all.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

CLAIM = re.compile(r"^\s*(\w+)(?:\s*:[^=]+)?\s*=[^=].*#\s*\(([^()]*)\)")
OPERATORS = {
    ast.Mult: lambda a, b: a * b,
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
}


def claims(path: Path) -> dict[int, tuple[str, list[str]]]:
    """Line number -> (variable, axes), for every assignment with a shape comment."""
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if match := CLAIM.match(line):
            found[number] = match[1], [axis.strip() for axis in match[2].split(",") if axis.strip()]
    return found


def check_shape_comments(
    paths: Iterable[Path], run: Callable[[], object]
) -> tuple[set[tuple[str, int]], set[str]]:
    """Call `run`; the (file, line) of each claim met on the way, and what is false, in words."""
    wanted = {str(path): claims(path) for path in paths}
    met: set[tuple[str, int]] = set()
    false: set[str] = set()

    def compare(frame, line, lengths):
        path = frame.f_code.co_filename
        name, axes = wanted[path][line]
        value = frame.f_locals.get(name)
        shape = getattr(value, "shape", None)
        if not isinstance(shape, tuple):
            return
        lengths |= letters(frame.f_locals)
        met.add((path, line))
        if not fits(axes, shape, lengths):
            said = f"{name} is said to be ({', '.join(axes)}) but is {shape}"
            false.add(f"{path}:{line}: {said}, with {lengths}")

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in wanted:
            return None
        lengths: dict[str, int] = {}
        last: list[int | None] = [None]
        lines = wanted[frame.f_code.co_filename]

        def local(frame, event, argument):
            if last[0] in lines and event in ("line", "return"):
                compare(frame, last[0], lengths)
            last[0] = frame.f_lineno if event == "line" else None
            return local

        return local

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return met, false


def letters(variables: dict) -> dict[str, int]:
    """The lengths that a function has unpacked into letters of its own: B, T, D = x.shape."""
    return {n: v for n, v in variables.items() if len(n) == 1 and n.isupper() and type(v) is int}


def fits(axes: list[str], shape: tuple[int, ...], lengths: dict[str, int]) -> bool:
    """Whether a shape is as said; letters met for the first time are given their length."""
    if "..." in axes:
        at = axes.index("...")
        after = len(axes) - at - 1
        if len(shape) < at + after:
            return False
        shape = shape[:at] + shape[len(shape) - after :]
        axes = axes[:at] + axes[at + 1 :]
    if len(axes) != len(shape):
        return False
    said = list(zip(axes, shape, strict=True))
    if any(lengths.setdefault(axis, n) != n for axis, n in said if axis.isidentifier()):
        return False
    return all(value_of(axis, lengths) == n for axis, n in said)


def value_of(axis: str, lengths: dict[str, int]) -> Fraction | None:
    """The number that an axis such as `R·T` or `C/2` says; None while a letter is unknown."""

    def value(node: ast.expr) -> Fraction | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return Fraction(node.value)
        if isinstance(node, ast.Name):
            return Fraction(lengths[node.id]) if node.id in lengths else None
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            left, right = value(node.left), value(node.right)
            known = left is not None and right is not None
            return OPERATORS[type(node.op)](left, right) if known else None
        raise ValueError(f"the shape comment has an axis that is no length: {axis}")

    return value(ast.parse(axis.replace("·", "*"), mode="eval").body)

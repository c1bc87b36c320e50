"""Takes one `cuda.syncthreads()` out of a rung: a test must see that it was needed."""

from __future__ import annotations

import ast
import linecache
from pathlib import Path
from types import ModuleType

BARRIER = "cuda.syncthreads()"


def barriers(path: Path) -> list[int]:
    """The lines of a rung's file on which all threads of a block wait for each other."""
    tree = ast.parse(Path(path).read_text("utf-8"))
    return sorted(
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and ast.unparse(node.value) == BARRIER
    )


def module_without(path: Path, line: int) -> ModuleType:
    """The rung as a module of its own, with the barrier on that line replaced by `pass`.

    Its code names a file that does not exist, `…/without line 97/a3_flash.py`: the same name and
    the same line numbers as the rung's, so that reports can be compared. `inspect.getsource` finds
    its text. The rung itself, and `sys.modules`, stay as they are.

    Raises:
        ValueError: that line has no barrier.
    """
    path = Path(path)
    if line not in barriers(path):
        raise ValueError(f"{path.name}:{line} is no {BARRIER}")
    lines = path.read_text("utf-8").splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(BARRIER, "pass", 1)
    source = "".join(lines)
    file = str(path.parent / f"without line {line}" / path.name)
    linecache.cache[file] = (len(source), None, lines, file)  # None: never compared with the disk
    module = ModuleType(f"{path.stem}_without_line_{line}")
    module.__file__ = file
    exec(compile(source, file, "exec"), module.__dict__)
    return module

"""A target's source: as the library has it, without its body, and with a few words changed."""

from __future__ import annotations

import ast
import importlib.util
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minivlm.errors import InputError

Function = ast.FunctionDef
NOT_WRITTEN = "raise NotImplementedError"
DROPPED = {"singledispatch"}  # decorators that belong to the library's place for a function


@dataclass(frozen=True)
class Target:
    """A function of the library.

    Attributes:
        module: such as "minivlm.ops.attention".
        path: names from the module down: ("attend",) or ("MultiHead", "split").
    """

    module: str
    path: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Target:
        """From "module:function" or "module:Class.method"."""
        module, _, path = text.partition(":")
        return cls(module, tuple(path.split(".")))

    @property
    def name(self) -> str:
        """Of the function alone."""
        return self.path[-1]

    @property
    def owner(self) -> str | None:
        """The class whose method it is."""
        return self.path[0] if len(self.path) > 1 else None

    def __str__(self) -> str:
        return f"{self.module}.{'.'.join(self.path)}"


def file_of(module: str) -> Path:
    """Where a module's source is, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise InputError(f"the module {module} is not installed")
    return Path(spec.origin)


@cache
def module_source(module: str) -> str:
    """A module's whole source."""
    return file_of(module).read_text(encoding="utf-8")


def find(tree: ast.Module, path: tuple[str, ...]) -> Function:
    """The function under that path in a module.

    Raises:
        InputError: there is none.
    """
    body: Iterable[ast.stmt] = tree.body
    for depth, name in enumerate(path):
        for node in body:
            if isinstance(node, Function | ast.ClassDef) and node.name == name:
                if depth == len(path) - 1 and isinstance(node, Function):
                    return node
                body = node.body
                break
        else:
            break
    raise InputError(f"there is no function {'.'.join(path)}")


def function_source(target: Target) -> str:
    """The function as the library has it, at the left margin, without the library's decorators."""
    source = module_source(target.module)
    node = find(ast.parse(source), target.path)
    kept = [line for line in _decorators(source, node) if line.strip("@ ") not in DROPPED]
    lines = source.splitlines()[node.lineno - 1 : node.end_lineno]
    return textwrap.dedent("\n".join([*kept, *lines])) + "\n"


def body_lines(target: Target) -> tuple[int, int]:
    """The first and the last line of what a student is to write, in the library's file."""
    return _body(module_source(target.module), target.path)


def body(source: str, name: str) -> list[str]:
    """The lines of a function's body, at the left margin, from a source of the function alone."""
    first, last = _body(source, (name,))
    return textwrap.dedent("\n".join(source.splitlines()[first - 1 : last])).splitlines()


def stub(target: Target) -> str:
    """The function with its docstring and no body."""
    return without_bodies(function_source(target), [(target.name,)])


def without_bodies(source: str, paths: Iterable[tuple[str, ...]]) -> str:
    """A source in which some functions are still to be written."""
    tree = ast.parse(source)
    lines = source.splitlines()
    places = []
    for path in paths:
        inner = written(find(tree, path))
        first = _after_docstring(inner)[0]
        places.append((first_line(first), inner.end_lineno or 0, first.col_offset))
    for start, end, indent in sorted(places, reverse=True):
        lines[start - 1 : end] = [" " * indent + NOT_WRITTEN]
    return "\n".join(lines) + "\n"


def filled(text: str, bodies: Iterable[list[str]]) -> str:
    """A text of stubs with a body in the place of each `raise NotImplementedError`, in order."""
    missing = iter(bodies)
    out = []
    for line in text.splitlines():
        if line.strip() == NOT_WRITTEN:
            indent = line[: len(line) - len(line.lstrip())]
            out += [indent + words if words else "" for words in next(missing)]
        else:
            out.append(line)
    return "\n".join(out) + "\n"


def edited(source: str, edits: Iterable[tuple[str, str]]) -> str:
    """A source with each edit made.

    Raises:
        InputError: what is to be changed is not there, or more than once.
    """
    for old, new in edits:
        if source.count(old) != 1:
            raise InputError(f"{source.count(old)} times in the library, not once: {old!r}")
        source = source.replace(old, new)
    return source


def edited_sources(targets: Sequence[Target], edits: Iterable[tuple[str, str]]) -> list[str]:
    """The functions' sources with edits made, each meant for the one source that has its words."""
    mark = "\n# ---- the next target ----\n"
    return edited(mark.join(map(function_source, targets)), edits).split(mark)


def imports_for(targets: Iterable[Target]) -> str:
    """Import statements for the names that the functions use, and NumPy, which anyone may want."""
    lines: dict[str, set[str]] = {}
    plain = {"numpy as np"}
    targets = list(targets)
    own = {name for target in targets for name in (target.name, target.owner)}
    for target in targets:
        source = module_source(target.module)
        tree = ast.parse(source)
        used = _names(find(tree, target.path))
        for node in _top_level(tree):
            if isinstance(node, ast.Import):
                plain |= {_spelled(a) for a in node.names if (a.asname or a.name) in used}
            elif isinstance(node, ast.ImportFrom):
                names = {_spelled(a) for a in node.names if (a.asname or a.name) in used}
                if node.module != "functools" or not names <= DROPPED:
                    lines.setdefault(node.module or "", set()).update(names - DROPPED)
            else:
                lines.setdefault(target.module, set()).update((_defined(node) & used) - own)
    lines.pop("__future__", None)
    froms = []
    for module, names in lines.items():
        if names:
            froms.append(f"from {module} import {', '.join(sorted(names))}")
    return "\n".join(_sorted_imports([f"import {name}" for name in plain], froms))


def _sorted_imports(plain: list[str], froms: list[str]) -> list[str]:
    """The standard library, other packages, minivlm; a line between them."""
    groups: list[list[str]] = [[], [], []]
    for line in sorted(plain) + sorted(froms):
        package = line.split()[1].split(".")[0]
        ours = package.startswith("minivlm")
        groups[2 if ours else 1 if package in ("numpy", "scipy", "numba") else 0].append(line)
    out: list[str] = []
    for group in filter(None, groups):
        out += [*([""] if out else []), *group]
    return out


def _top_level(tree: ast.Module) -> list[ast.stmt]:
    return [node for node in tree.body if not isinstance(node, ast.Expr)]


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _spelled(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _defined(node: ast.stmt) -> set[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, Function | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {inner.id for t in targets if t for inner in ast.walk(t) if isinstance(inner, ast.Name)}


def _decorators(source: str, node: Function) -> list[str]:
    lines = source.splitlines()
    return ["\n".join(lines[d.lineno - 1 : d.end_lineno]) for d in node.decorator_list]


def first_line(statement: ast.stmt) -> int:
    """Where it begins, decorators included."""
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(d.lineno for d in decorators)])


def _body(source: str, path: tuple[str, ...]) -> tuple[int, int]:
    inner = written(find(ast.parse(source), path))
    return first_line(_after_docstring(inner)[0]), inner.end_lineno or 0


def _after_docstring(node: Function) -> list[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node) is not None else node.body


def written(node: Function) -> Function:
    """What is to be written of it: where it only makes another function, that one's body."""
    *before, last = node.body
    makes = [inner for inner in before if isinstance(inner, Function)]
    if isinstance(last, ast.Return) and isinstance(last.value, ast.Name):
        for inner in makes:
            if inner.name == last.value.id and inner is before[-1]:
                return inner
    return node

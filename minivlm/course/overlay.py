"""Another function in a target's place, everywhere in the library where it is known by name.

A student's function, a known mistake and a mutant all get into the real library this way. So that
a student's function cannot call the library's own, `without` takes that body away before its module
is even imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import linecache
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from minivlm.course.source import Target, file_of, function_source, stub, without_bodies

STUDENT = "course_"  # what a student's modules are called: course_e10_attention
Undo = Callable[[], None]


def replace(target: Target, new: Callable) -> Undo:
    """Put `new` in the target's place; what is returned puts the old one back."""
    holder = held_by(target)
    old = vars(holder)[target.name]
    if target.owner is not None:
        names = {name for name, value in vars(holder).items() if value is old}
        return _set({(holder, name) for name in names}, old, new)
    if hasattr(old, "register") and hasattr(old, "registry"):  # functools.singledispatch
        before = old.registry[object]
        old.register(object, new)
        return lambda: old.register(object, before) and None
    places = {
        (module, name)
        for module in _ours()
        for name, value in list(vars(module).items())
        if value is old
    }
    return _set(places, old, new)


@contextmanager
def replaced(functions: dict[Target, Callable]) -> Iterator[None]:
    """Inside this block other functions stand in the targets' places."""
    undo: list[Undo] = []
    try:
        undo += [replace(target, new) for target, new in functions.items()]
        yield
    finally:
        for back in reversed(undo):
            back()


def from_source(target: Target, source: str, name: str) -> Callable:
    """A function from a source such as `function_source` gives, among the names of its module.

    Its lines can be read, as the stepper reads those of a kernel, under a name of their own.
    """
    text = "from __future__ import annotations\n" + source
    file = f"<{name.strip('<>')}: {target}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace = dict(vars(importlib.import_module(target.module)))
    exec(compile(text, file, "exec"), namespace)
    return namespace[target.name]


def reference(target: Target) -> Callable:
    """The library's own function, made anew from its source."""
    return from_source(target, function_source(target), "reference")


def held_by(target: Target) -> Any:
    """The library's module or class that has the function."""
    module = sys.modules[target.module]
    return vars(module)[target.owner] if target.owner else module


def install(file: Path, targets: Sequence[Target]) -> None:
    """Let the functions in a student's file take the targets' places."""
    for target, function in student_functions(load_student(file), targets).items():
        replace(target, function)


def load_student(path: Path) -> ModuleType:
    """Run a student's file as a module of its own, under its own path, so that debuggers stop."""
    module = ModuleType(STUDENT + path.stem)
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)  # nothing is cached
    exec(code, vars(module))
    return module


def student_functions(module: ModuleType, targets: Sequence[Target]) -> dict[Target, Callable]:
    """The student's function for each target; classes in the file stand for the library's.

    Raises:
        LookupError: one is not in the file.
    """
    found: dict[Target, Callable] = {}
    for target in targets:
        owner: Any = vars(module).get(target.owner) if target.owner else module
        new = vars(owner).get(target.name) if owner is not None else None
        if not callable(new):
            raise LookupError(f"there is no function {'.'.join(target.path)} in your file")
        found[target] = new
    for target in targets:
        if target.owner:  # `isinstance(x, Tensor)` is to mean the library's class
            setattr(module, target.owner, held_by(target))
    return found


@contextmanager
def without(targets: Sequence[Target]) -> Iterator[None]:
    """Inside this block, modules are imported without these functions' bodies.

    Where a module is there already (`import minivlm` brings `minivlm.tensor` and
    `minivlm.gradcheck` with it), its functions lose their bodies for good.
    """
    for target in targets:
        if target.module in sys.modules:
            _empty(target)
    finder = _Blanked(targets)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _empty(target: Target) -> None:
    """Take a function's body: it stays the same object, whoever holds it."""
    function = vars(held_by(target))[target.name]
    space = dict(vars(sys.modules[target.module]))
    source = "from __future__ import annotations\n" + stub(target)
    exec(compile(source, str(file_of(target.module)), "exec", dont_inherit=True), space)
    function.__code__ = space[target.name].__code__


class _Blanked(importlib.abc.MetaPathFinder):
    """Finds the targets' modules, whose sources lose a few bodies before they are compiled."""

    def __init__(self, targets: Sequence[Target]):
        self.paths: dict[str, list[tuple[str, ...]]] = {}
        for target in targets:
            self.paths.setdefault(target.module, []).append(target.path)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's spec, if it is one of those."""
        if fullname not in self.paths:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = _BlankedLoader(fullname, spec.origin, self.paths[fullname])
        return spec


class _BlankedLoader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, bodies: list[tuple[str, ...]]):
        super().__init__(fullname, path)
        self.bodies = bodies

    def get_code(self, fullname: str) -> CodeType:
        """The module's code, never from a cache; and whoever asks for its lines gets these."""
        source = without_bodies(Path(self.path).read_text(encoding="utf-8"), self.bodies)
        lines = source.splitlines(keepends=True)
        linecache.cache[self.path] = (len(source), None, lines, self.path)
        return compile(source, self.path, "exec", dont_inherit=True)


def _ours() -> list[ModuleType]:
    prefixes = ("minivlm", STUDENT)
    return [module for name, module in list(sys.modules.items()) if name.startswith(prefixes)]


def _set(places: set[tuple[Any, str]], old: Any, new: Any) -> Undo:
    for place, name in places:
        setattr(place, name, new)

    def undo() -> None:
        for place, name in places:
            setattr(place, name, old)

    return undo

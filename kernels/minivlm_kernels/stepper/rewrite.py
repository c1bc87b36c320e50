"""A kernel's source, rewritten so that a thread can stop at a barrier and go on later.

`cuda.syncthreads()` becomes `yield`, which makes the kernel a generator; a device function with a
barrier becomes one too, and is called by `yield from`. The rest stays as it is written, in the same
lines of the same file, so that debuggers and messages show the original.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Generator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from numba import cuda

from minivlm_kernels.stepper.language import Cuda
from minivlm_kernels.stepper.places import Place

BARRIERS = {"syncthreads": "block", "syncwarp": "warp"}  # and who must meet there
ARRAYS = ("shared.array", "local.array")
FIRST_LINE = "stepper.first_line"  # a name that no source can contain

Steps = Generator[str, None, None]  # of one thread; yields who must meet before it goes on


class Rewritten:
    """A function that is ready to be defined again, in other surroundings.

    Attributes:
        function: as it was written.
        code: of a module that defines it.
        calls: the device functions it calls, by the name that its code has for them.
        waits: it has a barrier, or calls one that has.
    """

    def __init__(
        self, function: FunctionType, code: CodeType, calls: dict[str, Rewritten], waits: bool
    ):
        self.function, self.code, self.calls, self.waits = function, code, calls, waits

    def define(self, cuda_here: Cuda, first_line: Callable[[], None]) -> Callable:
        """The function, with another `cuda`.

        Args:
            cuda_here: what it is to find in place of Numba's.
            first_line: called by a kernel before its first line.
        """
        namespace = _names(self.function)
        for name, value in namespace.items():
            if value is cuda:
                namespace[name] = cuda_here
        for name, called in self.calls.items():
            namespace[name] = called.define(cuda_here, _nothing)
        namespace[FIRST_LINE] = first_line
        exec(self.code, namespace)
        return namespace[self.function.__name__]

    def as_kernel(self, cuda_here: Cuda, first_line: Callable[[], None]) -> Callable[..., Steps]:
        """The same, as a generator even where there is no barrier to stop at."""
        function = self.define(cuda_here, first_line)
        if self.waits:
            return function

        def steps(*arguments: object) -> Steps:
            function(*arguments)
            return
            yield

        return steps


def python_function(kernel: object) -> FunctionType | None:
    """What `numba.cuda.jit` was given to make this; None if it did not make it."""
    for attribute in ("py_func", "fn"):  # of a dispatcher, and of the simulator's kernels
        function = getattr(kernel, attribute, None)
        if isinstance(function, FunctionType):
            return function
    return None


@lru_cache(maxsize=256)
def rewritten(function: FunctionType) -> Rewritten:
    """The function with each barrier a `yield`.

    Raises:
        TypeError: its source is not to be had, or it calls what a kernel cannot call.
    """
    definition = _definition(function)
    rewriter = _Rewriter(function)
    rewriter.generic_visit(definition)
    first_line = ast.Expr(ast.Call(ast.Name(FIRST_LINE, ast.Load()), args=[], keywords=[]))
    after_docstring = 0 if ast.get_docstring(definition) is None else 1
    definition.body.insert(after_docstring, ast.copy_location(first_line, definition))
    module = ast.fix_missing_locations(ast.Module([definition], type_ignores=[]))
    lazy = annotations.compiler_flag  # no one looks up the types of arguments
    code = compile(module, function.__code__.co_filename, "exec", lazy, dont_inherit=True)
    return Rewritten(function, code, rewriter.calls, rewriter.waits)


class _Rewriter(ast.NodeTransformer):
    """Rewrites the calls in one function.

    Attributes:
        calls: the device functions that it calls, by the names put in their place.
        waits: whether it can stop at a barrier.
    """

    def __init__(self, function: FunctionType):
        self.function = function
        self.known = _names(function)
        self.assigned: dict[ast.expr, str] = {}
        self.calls: dict[str, Rewritten] = {}
        self.waits = False

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """An array is called what it is assigned to."""
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for name, value in pairs:
                self.assigned[value] = ast.unparse(name)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Barriers, arrays and device functions; other calls stay."""
        self.generic_visit(node)
        of_cuda = self._of_cuda(node.func)
        if of_cuda is None:
            return self._visit_other(node)
        if of_cuda in BARRIERS:
            if node.args or node.keywords:
                raise TypeError(f"the stepper knows {ast.unparse(node)} only without arguments")
            self.waits = True
            return ast.copy_location(ast.Yield(ast.Constant(BARRIERS[of_cuda])), node)
        if of_cuda in ARRAYS:
            call = f"{self.function.__code__.co_filename}:{node.lineno}:{node.col_offset}"
            name = self.assigned.get(node, f"of line {node.lineno}")
            node.keywords += [
                ast.keyword("name", ast.Constant(name)),
                ast.keyword("call", ast.Constant(call)),
            ]
        return node

    def _visit_other(self, node: ast.Call) -> ast.AST:
        value = self._value(node.func)
        name = ast.unparse(node.func)
        if isinstance(value, FunctionType):
            raise TypeError(
                f"{self.function.__name__} calls {name}, which is a plain Python function; with "
                f"@cuda.jit(device=True) it is one that a kernel can call"
            )
        function = python_function(value)
        if function is None:
            return node
        called = self.calls[name] = rewritten(function)
        node.func = ast.copy_location(ast.Name(name, ast.Load()), node.func)
        if not called.waits:
            return node
        self.waits = True
        return ast.copy_location(ast.YieldFrom(node), node)

    def _of_cuda(self, node: ast.expr) -> str | None:
        """What follows `cuda.` in the name of a function, such as "shared.array"."""
        parts = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name) and self.known.get(node.id) is cuda:
            return ".".join(parts)
        return None

    def _value(self, node: ast.expr) -> object:
        """What a name, or a dotted one, stands for; None if that is not known beforehand."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.Attribute):
            return getattr(self._value(node.value), node.attr, None)
        return None


def _definition(function: FunctionType) -> ast.FunctionDef:
    """The `def` statement, with the line numbers of its file, without its decorators."""
    try:
        lines, first = inspect.getsourcelines(function)
    except OSError:
        raise TypeError(
            f"the stepper reads a kernel's source, and {function.__name__} has none: define it in "
            f"a file or in a cell of a notebook"
        ) from None
    place = Place(function.__code__.co_filename, first)
    if lines[0][:1].isspace():  # as it is, it would not parse
        lines, first = ["if True:\n", *lines], first - 1
    try:
        definition = ast.increment_lineno(ast.parse("".join(lines)), first - 1).body[0]
    except SyntaxError:
        definition = None
    if isinstance(definition, ast.If):
        definition = definition.body[0]
    if not isinstance(definition, ast.FunctionDef) or definition.name != function.__name__:
        raise TypeError(
            f"the stepper reads a kernel's source, and that of {function.__name__} does not begin "
            f"here; if the file has changed, import it again\n    {place.text}"
        )
    definition.decorator_list = []
    return definition


def _names(function: FunctionType) -> dict[str, Any]:
    """What names mean in the function that it does not define itself."""
    return {**function.__globals__, **inspect.getclosurevars(function).nonlocals}


def _nothing() -> None:
    """What device functions do before their first line."""

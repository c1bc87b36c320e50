"""Small wrong changes of a function: what a check must notice although nobody listed them.

Each mutant differs from the source in one place: an operator, a number, an order, a missing term.

Source: DeMillo, Lipton and Sayward 1978, "Hints on Test Data Selection", IEEE Computer 11(4).
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
WORDS = {
    "max": "min",
    "min": "max",
    "maximum": "minimum",
    "minimum": "maximum",
    "argmax": "argmin",
    "sum": "mean",
    "mean": "sum",
    "exp": "log",
    "log": "exp",
    "sqrt": "square",
    "zeros_like": "ones_like",
    "zeros": "ones",
    "ones_like": "zeros_like",
    "x": "y",
    "y": "x",
}


@dataclass(frozen=True)
class Mutant:
    """A source with one thing wrong.

    Attributes:
        line: of the function's source where it differs.
        what: the old words and the new ones.
        source: the whole function.
    """

    line: int
    what: str
    source: str


def mutants(source: str, name: str) -> Iterator[Mutant]:
    """Every mutant of the function `name` in a source."""
    tree = ast.parse(source)
    seen = {ast.unparse(tree)}
    for number, node in enumerate(_inside(tree, name)):
        for changed in _changes(node):
            other = copy.deepcopy(tree)
            place = list(_inside(other, name))[number]
            if isinstance(changed, _Delete):
                _put(other, place, ast.copy_location(ast.Pass(), place))
            elif isinstance(changed, ast.AST):
                _put(other, place, ast.copy_location(changed, place))
            text = ast.unparse(ast.fix_missing_locations(other))
            if text in seen:
                continue
            seen.add(text)
            new = "nothing" if isinstance(changed, _Delete) else ast.unparse(changed)
            yield Mutant(getattr(node, "lineno", 0), f"{_short(node)} -> {new[:60]}", text)


class _Delete:
    """A statement is left out."""


def _inside(tree: ast.Module, name: str) -> Iterator[ast.AST]:
    """The nodes of the function's body in order, without docstrings, annotations and errors."""
    function = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name)
    yield from _walk(function.body)


def _walk(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for statement in body:
        text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if text or isinstance(statement, ast.Raise | ast.Pass):
            continue
        yield statement
        if isinstance(statement, ast.FunctionDef):
            yield from _walk(statement.body)
            continue
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.stmt):
                continue
            if isinstance(statement, ast.AnnAssign) and child is statement.annotation:
                continue
            yield from (node for node in ast.walk(child) if isinstance(node, ast.expr))
        for name in ("body", "orelse"):
            yield from _walk(getattr(statement, name, []))


def _changes(node: ast.AST) -> Iterator[ast.AST | _Delete]:
    """What may stand in a node's place."""
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr):
        yield _Delete()
    if isinstance(node, ast.AugAssign):
        for other in OPERATORS.get(type(node.op), ()):
            yield ast.AugAssign(node.target, other(), node.value)
    if isinstance(node, ast.BinOp):
        for other in OPERATORS.get(type(node.op), ()):
            yield ast.BinOp(node.left, other(), node.right)
        if isinstance(node.op, ast.Sub | ast.Div | ast.MatMult | ast.FloorDiv):
            yield ast.BinOp(node.right, node.op, node.left)
        yield node.left
        yield node.right
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        yield node.operand
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in OPERATORS.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [other()], node.comparators)
    if isinstance(node, ast.BoolOp):
        for other in OPERATORS.get(type(node.op), ()):
            yield ast.BoolOp(other(), node.values)
        yield from node.values
    if isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    if isinstance(node, ast.Constant):
        for value in _other_constants(node.value):
            yield ast.Constant(value)
    if isinstance(node, ast.Attribute) and node.attr in ("mT", "T"):
        yield node.value
    if isinstance(node, ast.Attribute) and node.attr in WORDS:
        yield ast.Attribute(node.value, WORDS[node.attr], node.ctx)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in WORDS:
            yield ast.Call(ast.Name(WORDS[node.func.id], ast.Load()), node.args, node.keywords)
        for keyword in node.keywords:
            rest = [other for other in node.keywords if other is not keyword]
            yield ast.Call(node.func, node.args, rest)
        if len(node.args) >= 2:
            yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
    if isinstance(node, ast.Tuple) and len(node.elts) >= 2 and isinstance(node.ctx, ast.Load):
        yield ast.Tuple([node.elts[1], node.elts[0], *node.elts[2:]], node.ctx)


def _other_constants(value: object) -> list[bool | int | float]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value + 1.0, value * 2, -value] if value else [1.0]
    return []


def _put(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Exchange a node of a tree."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list) and any(item is old for item in value):
                setattr(parent, name, [new if item is old else item for item in value])
                return


def _short(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:60]

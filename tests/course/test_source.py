"""Stubs, imports and changes are made from the library's source."""

import ast

import pytest

from minivlm.course import overlay
from minivlm.course.mutate import mutants
from minivlm.course.source import Target, edited, imports_for, stub, without_bodies
from minivlm.errors import InputError
from minivlm.nn import block, multihead
from minivlm.ops import attention, normalize

SPLIT = Target.parse("minivlm.nn.multihead:MultiHead.split")
SOFTMAX = Target.parse("minivlm.ops.normalize:softmax_arrays")


MAKES = '''
def make(n):
    """Makes it."""
    m = n + 1

    def inner(x):
        return x + m

    return inner
'''


def test_a_stub_has_signature_and_docstring_and_nothing_else():
    text = stub(SOFTMAX)
    assert text.startswith("def softmax_arrays(x: Array, axis: int) -> tuple[Array, Vjp]:")
    assert text.count("\n") == 3
    assert "raise NotImplementedError" in text
    assert "singledispatch" not in text


def test_of_a_function_that_makes_another_the_other_is_to_be_written():
    text = without_bodies(MAKES, [("make",)])
    assert "m = n + 1" in text
    assert "    def inner(x):\n        raise NotImplementedError\n" in text
    assert "return x + m" not in text


def test_imports_are_those_that_the_body_needs():
    lines = imports_for([Target.parse("minivlm.ops.attention:attention_weights")]).splitlines()
    assert lines == [
        "import math",
        "",
        "import numpy as np",
        "",
        "from minivlm.tensor import Array",
    ]


def test_a_target_that_is_not_there_and_an_edit_that_does_not_fit_are_sentences():
    with pytest.raises(InputError, match=r"no function MultiHead\.cut"):
        stub(Target.parse("minivlm.nn.multihead:MultiHead.cut"))
    with pytest.raises(InputError, match="2 times"):
        edited("a a", [("a", "b")])


def test_a_function_is_replaced_wherever_it_is_known_and_put_back():
    target = Target.parse("minivlm.ops.attention:attention")
    before = attention.attention
    with overlay.replaced({target: len}):
        assert multihead.attention is attention.attention is len
    assert multihead.attention is attention.attention is before


def test_a_method_and_its_other_names_are_replaced():
    from minivlm.tensor import Tensor

    target = Target.parse("minivlm.tensor:Tensor.__mul__")
    with overlay.replaced({target: lambda self, other: "mine"}):
        assert Tensor([1.0]) * 2 == 2 * Tensor([1.0]) == "mine"
    assert (2 * Tensor([1.0])).item() == 2


def test_a_function_that_dispatches_keeps_doing_so():
    with overlay.replaced({SOFTMAX: lambda x, axis: ("mine", None)}):
        assert normalize.softmax_arrays([1.0], 0)[0] == "mine"
    assert normalize.softmax_arrays.dispatch(object).__name__ == "softmax_arrays"


def test_an_error_inside_puts_everything_back():
    before = vars(multihead.MultiHead)["split"]
    with pytest.raises(ZeroDivisionError), overlay.replaced({SPLIT: len}):
        raise ZeroDivisionError
    assert vars(multihead.MultiHead)["split"] is before
    assert block.MultiHead is multihead.MultiHead


SOURCE = '''
def f(x, axis):
    """x + 1 in words."""
    if axis < 0:
        raise ValueError(f"{axis + 1}")
    y = x.max(axis, keepdims=True)
    return (x - y) / 2
'''


def test_mutants_differ_from_the_source_in_one_place_each():
    found = list(mutants(SOURCE, "f"))
    texts = {mutant.source for mutant in found}
    assert len(texts) == len(found)
    bodies = [ast.unparse(ast.parse(text)) for text in texts]
    for words in (
        "axis <= 0",
        "x.min(",
        "x + y",
        "(x - y) * 2",
        "(x - y) / 3",
        "y - x",
        "max(axis)",
    ):
        assert any(words in text for text in bodies), words


def test_mutants_leave_docstrings_and_errors_alone():
    for mutant in mutants(SOURCE, "f"):
        assert '"""x + 1 in words."""' in mutant.source
        assert "raise ValueError(f'{axis + 1}')" in mutant.source

import re
from pathlib import Path

import numpy as np
import pytest

import minivlm
from minivlm.ops.attention import attention
from minivlm.ops.normalize import softmax
from minivlm.tensor import Tensor, no_grad
from minivlm.watch import watched_by, watcher

HERE = Path(__file__)


def lines_of(run):
    lines = []
    with minivlm.trace(lines.append):
        run()
    return lines


def place(line):
    """The file and the line of code that a line of the trace links to."""
    file, number = line.split()[-1].rsplit(":", 1)
    return Path(file).resolve(), Path(file).read_text(encoding="utf-8").splitlines()[
        int(number) - 1
    ]


def test_each_op_has_a_line_that_links_to_its_caller():
    x = Tensor([[1.0, -2.0]])
    lines = lines_of(lambda: (x * 3).sum())
    assert re.match(r"→ mul +1×2 +float32 +-6 … 3 ", lines[0])
    assert re.match(r"→ sum +scalar +float32 +-3 … -3 ", lines[1])
    assert place(lines[0]) == (HERE, "    lines = lines_of(lambda: (x * 3).sum())")


def test_the_way_back_links_to_the_gradient_functions():
    q = Tensor(np.ones((1, 1, 2, 4)), requires_grad=True)
    lines = lines_of(lambda: attention(q, q, q).sum().backward())
    back = [line for line in lines if line.startswith("←")]
    assert [line.split()[1] for line in back] == ["sum", "attend"]
    assert re.search(r"\|dy\| 2.828 ", back[1])  # the norm of eight ones
    file, code = place(back[1])
    assert file.name == "attention.py"
    assert "attention_backward(dy, P, Q, K, V)" in code


def test_constants_have_lines_too_but_no_way_back():
    lines = lines_of(lambda: Tensor([1.0, 2.0]).exp())
    assert len(lines) == 1


def test_an_empty_value_has_no_range():
    assert "empty" in lines_of(lambda: Tensor(np.ones((0, 2))) * 2)[0]


def test_nothing_is_traced_outside_the_block_even_after_an_error():
    lines = []

    def fails():
        with minivlm.trace(lines.append):
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert watcher() is None
    assert (Tensor([1.0]) * 2).item() == 2
    assert lines == []


def test_a_watcher_sees_values_inputs_and_gradients():
    class Both:
        def __init__(self):
            self.seen = []

        def forward(self, y, inputs):
            self.seen.append((y, inputs))

        def backward(self, node, dy, edges):
            self.seen.append((node, dy.tolist(), len(edges)))

    both = Both()
    a, b = Tensor([2.0], requires_grad=True), Tensor([5.0])
    with watched_by(both):
        y = a * b
        y.sum().backward()
        with no_grad():
            assert (a + b).node is None
    product, _, _, back, unrecorded = both.seen
    assert product == (y, (a, b))
    assert back == (y.node, [1.0], 1)
    assert unrecorded[0].node is None
    assert a.grad.tolist() == [5]


def test_a_notebook_s_cell_is_called_so_and_keeps_its_line():
    cell = "x = Tensor([1.0])\nfor _ in range(1):\n    x.exp()"
    code = compile(cell, "/tmp/ipykernel_123/456.py", "exec")
    [line] = lines_of(lambda: exec(code, {"Tensor": Tensor}))
    assert line.split()[-1] == "cell:3"


def test_an_op_has_one_name_on_both_ways():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    lines = lines_of(lambda: (softmax(x) * 2).sum().backward())
    assert [line.split()[1] for line in lines] == ["softmax", "mul", "sum", "sum", "mul", "softmax"]

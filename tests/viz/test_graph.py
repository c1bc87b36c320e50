import xml.etree.ElementTree as ET

import numpy as np
import pytest

from minivlm.ops.attention import attention
from minivlm.tensor import Tensor
from minivlm.viz.graph import (
    BOX_HEIGHT,
    BOX_WIDTH,
    MOST,
    Passage,
    arrivals,
    corner,
    listed,
    place,
    watch_graph,
)
from minivlm.viz.style import GREEN, ORANGE
from minivlm.viz.svg import Drawing

SVG = "{http://www.w3.org/2000/svg}"


def leaf(value):
    return Tensor(value, requires_grad=True)


def diamond():
    a, b = leaf(2.0), leaf(-3.0)
    with watch_graph(a=a, b=b) as graph:
        c = a * b
        (c * a + c).backward()
    return graph, a, b


def words(drawing):
    return [text.text or "" for text in ET.fromstring(drawing.svg()).iter(f"{SVG}text")]


def boxes(drawing):
    """What each box says: op, value, gradient."""
    said = words(drawing)
    return [tuple(said[i : i + 3]) for i in range(0, len(said), 3)]


def test_every_value_has_a_box_with_its_gradient():
    graph, a, b = diamond()
    assert boxes(graph.draw()) == [
        ("a", "2", "∂ −15"),
        ("b", "−3", "∂ 6"),
        ("×", "−6", "∂ 3"),
        ("×", "−12", "∂ 1"),
        ("+", "−18", "∂ 1"),
    ]
    assert (a.grad.item(), b.grad.item()) == (-15, 6)


def test_the_steps_show_what_is_known_when():
    graph, *_ = diamond()
    gradients = [[gradient for *_, gradient in boxes(step)] for step in graph.steps()]
    assert gradients == [
        ["", "", "", "", "∂ 1"],
        ["", "", "", "∂ 1", "∂ 1"],
        ["∂ −6", "", "∂ 3", "∂ 1", "∂ 1"],  # a has half of its gradient yet
        ["∂ −15", "∂ 6", "∂ 3", "∂ 1", "∂ 1"],
    ]


def test_the_title_of_each_step_says_what_happens():
    graph, *_ = diamond()
    assert [step.title for step in graph.steps()] == [
        "+ has all of its gradient, ∂ 1: shares go to ×",  # both of its inputs are products
        "× has all of its gradient, ∂ 1: shares go to × and a",
        "× has all of its gradient, ∂ 3: shares go to a and b",
        "the leaves keep their gradients",
    ]


def test_names_are_listed_as_one_speaks():
    assert [listed(list("abc"[:n])) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_the_arrows_that_a_gradient_passes_are_shaded_and_no_others():
    x, k = leaf(2.0), Tensor(3.0)
    with watch_graph(x=x, k=k) as graph:
        (x * k).backward()
    step, end = graph.steps()
    shaded = [
        (float(line.get("x1")), float(line.get("y1")))
        for line in ET.fromstring(step.svg()).iter(f"{SVG}line")
        if line.get("stroke") == ORANGE
    ]
    left, top = corner(graph.values[0])
    assert shaded == [(left + BOX_WIDTH, top + BOX_HEIGHT / 2)]  # from x; k wants none
    assert f'stroke="{ORANGE}"' not in end.svg()


def test_a_badge_lies_on_the_corner_of_its_node_s_box():
    x = leaf(1.0)
    with watch_graph(x=x) as graph:
        first = x.exp()
        second = first.exp()
    drawing = graph.draw({second.node: "7×"})
    root = ET.fromstring(drawing.svg())
    assert "7×" in words(drawing)
    [badge] = [box for box in root.iter(f"{SVG}rect") if box.get("fill") == GREEN]
    left, top = corner(graph.values[2])
    assert left < float(badge.get("x")) < left + BOX_WIDTH
    assert float(badge.get("x")) + float(badge.get("width")) > left + BOX_WIDTH
    assert 0 <= float(badge.get("y")) < top


def test_a_value_used_twice_by_one_op_has_two_arrows_that_end_apart():
    x = leaf(1.0)
    with watch_graph(x=x) as graph:
        _ = x + x
    place(graph.values)
    (left, upper), (same, lower) = arrivals(graph.values[1])
    assert left == same
    assert lower - upper == 14
    arrows = [a for a in ET.fromstring(graph.draw().svg()).iter(f"{SVG}line")]
    assert len({a.get("y2") for a in arrows}) == 2


def test_before_the_way_back_there_are_values_alone():
    x = leaf(1.5)
    with watch_graph(x=x) as graph:
        x.exp()
    assert boxes(graph.draw()) == [("x", "1.5", ""), ("exp", "4.482", "")]
    assert graph.steps() == []


def test_arrays_show_their_shape_and_size():
    q = leaf(np.ones((1, 2, 3, 4), np.float32))
    with watch_graph(q=q) as graph:
        attention(q, q, q).sum().backward()
    assert boxes(graph.draw())[1] == ("attend", "1×2×3×4  |·| 4.9", "∂ 1×2×3×4  |·| 4.9")


def test_a_constant_is_named_so_and_gets_no_gradient():
    x = leaf(1.0)
    with watch_graph(x=x) as graph:
        (x + 3.0).backward()
    assert ("constant", "3", "") in boxes(graph.draw())


def test_no_arrow_runs_through_a_box():
    a = leaf(1.0)
    with watch_graph(a=a) as graph:
        y = a.exp().exp().exp() + a
        (y + a).backward()
    columns = place(graph.values)
    for column in columns:
        rows = [box.row for box in column]
        assert len(set(rows)) == len(rows)
    assert sum(isinstance(box, Passage) for column in columns for box in column) == 7
    drawing = graph.draw()
    for box in ET.fromstring(drawing.svg()).iter(f"{SVG}rect"):
        assert float(box.get("x", 0)) + float(box.get("width")) <= drawing.width
        assert float(box.get("y", 0)) + float(box.get("height")) <= drawing.height
    spots = [corner(value) for value in graph.values]
    for i, (x, y) in enumerate(spots):
        for left, top in spots[:i]:
            assert abs(x - left) >= BOX_WIDTH or abs(y - top) >= BOX_HEIGHT


def test_a_graph_too_large_to_read_is_refused():
    x = leaf(1.0)

    def deep():
        with watch_graph(x=x):
            y = x
            for _ in range(MOST):
                y = y * 1.0
            return y

    with pytest.raises(ValueError, match=f"more than {MOST} values"):
        deep()


def test_values_from_before_the_block_count_as_leaves():
    x = leaf(2.0)
    y = x * 5
    with watch_graph() as graph:
        (y * 2).backward()
    assert [box[:2] for box in boxes(graph.draw())] == [
        ("leaf", "10"),
        ("constant", "2"),
        ("×", "20"),
    ]
    assert x.grad.item() == 10


def test_words_in_a_drawing_are_no_markup(tmp_path):
    drawing = Drawing(50, 20, "a < b & c")
    drawing.text(5, 5, "<b> & c")
    drawing.save(tmp_path / "x.svg")
    root = ET.parse(tmp_path / "x.svg").getroot()
    assert root.find(f"{SVG}title").text == "a < b & c"
    assert root.find(f"{SVG}text").text == "<b> & c"
    assert drawing._repr_svg_() == drawing.svg()


def test_values_bear_the_names_that_the_program_gives_them():
    a, b = leaf(2.0), leaf(-3.0)
    with watch_graph(a=a, b=b) as graph:
        c = a * b
        loss = c * a + c
    graph.name(c=c, L=loss)
    assert [label for label, *_ in boxes(graph.draw())] == ["a", "b", "c = ×", "×", "L = +"]
    with pytest.raises(ValueError, match="d was not computed while"):
        graph.name(d=leaf(1.0))

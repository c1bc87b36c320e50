"""The pictures of reads show who touches which memory, from events that are made by hand."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from minivlm.viz.reads import heat_maps, memory_steps, pieces, read_counts
from minivlm.viz.style import BLUE, ORANGE
from tests.viz.events import columns, drawn, reads, rows


def test_strided_threads_need_a_piece_each_and_coalesced_ones_share_it():
    assert pieces(rows(), (4, 8)) == [4] * 8
    assert pieces(columns(), (4, 8)) == [1] * 4
    assert pieces(columns(), (4, 8), itemsize=8) == [2] * 4
    assert pieces(columns(), (4, 8), piece=128) == [1] * 4


def test_pieces_that_a_step_asks_for_twice_are_fetched_once():
    assert pieces(reads([[(3,)], [(3,)], [(4,)]]), (8,)) == [1]


def test_memory_shows_the_thread_at_its_element_and_what_comes_along():
    figure = memory_steps([("rows", rows()), ("columns", columns())], (4, 8))
    strided, coalesced = figure.axes
    assert (strided.get_title("left"), coalesced.get_title("left")) == ("rows", "columns")
    shown = drawn(strided)
    second = {x: shown[x, 0.5] for x in (1, 9, 17, 25)}  # of each row, the element in column 1
    assert second == {1 + 8 * t: (BLUE.lower(), [str(t)]) for t in range(4)}
    for start in (0, 8, 16, 24):  # the rest of the piece
        assert shown[start, 0.5][0] == to_hex(ORANGE)
    assert [shown[x, -0.5][1] for x in range(0, 32, 8)] == [["0"], ["1"], ["2"], ["3"]]
    assert [text.get_text() for text in strided.texts if "piece" in text.get_text()] == [
        "4 pieces"
    ] * 8
    assert [text.get_text() for text in coalesced.texts if "piece" in text.get_text()] == [
        "1 piece"
    ] * 4
    shown = drawn(coalesced)
    assert [shown[8 + t, 0.5] for t in range(8)] == [(BLUE.lower(), [str(t)]) for t in range(8)]
    assert not any(y == 0.5 and not 8 <= x < 16 for x, y in shown)
    assert "element of x" in coalesced.get_xlabel()


def test_reads_are_counted_for_each_element():
    counts = read_counts(reads([[(0, 1), (1, 1)], [(0, 1)]]), (2, 2))
    np.testing.assert_array_equal(counts, [[0, 2], [0, 1]])


def test_a_heat_map_has_each_count_in_its_cell_and_one_scale():
    few, many = np.array([[1, 2], [3, 4]]), np.full((1, 1, 3), 8)
    figure = heat_maps([("few", few), ("many", many)], row="token", column="channel")
    left, right = figure.axes
    assert [axes.get_xlabel() for axes in figure.axes] == ["channel", "channel"]
    assert (left.get_ylabel(), right.get_ylabel()) == ("token", "")
    assert [axes.get_title() for axes in figure.axes] == ["few", "many"]
    np.testing.assert_array_equal(left.get_images()[0].get_array(), few)
    assert [text.get_text() for text in left.texts] == ["1", "2", "3", "4"]
    assert [text.get_text() for text in right.texts] == ["8"] * 3
    assert {axes.get_images()[0].get_clim() for axes in figure.axes} == {(0, 8)}


@pytest.mark.parametrize(
    ("draw", "what"),
    [
        (lambda: memory_steps([], (2, 2)), "could not be read"),
        (lambda: memory_steps([("", rows(32))], (32, 8)), "could not be read"),
        (lambda: memory_steps([("", rows() + reads([[(0, 0)]], "y"))], (4, 8)), "one array"),
        (lambda: heat_maps([]), "made of counts"),
        (lambda: heat_maps([("", np.ones((2, 2, 2)))]), "not a matrix"),
    ],
)
def test_what_makes_no_picture_is_an_error(draw, what):
    with pytest.raises(ValueError, match=what):
        draw()

"""Attention with its numbers: each in its cell, legible, bright where it is large."""

import numpy as np
import pytest

from minivlm.viz.strip import attention_strip
from minivlm.viz.style import save_figure


def written(axes):
    """What stands in each cell, by row and column."""
    return {(y, x): text.get_text() for text in axes.texts for x, y in [text.get_position()]}


def test_each_number_stands_in_its_cell_as_one_writes_it_by_hand(tmp_path):
    matrix = np.array([[0.25, -0.5, 1.0], [12.34, -0.001, 0.0]])
    figure = attention_strip([("q", matrix)])
    save_figure(figure, tmp_path / "strip.png")
    (axes,) = figure.axes
    assert axes.get_title() == "q"
    first, second = ((0, 0), ".25"), ((0, 1), "−.50")
    rest = [((0, 2), "1.00"), ((1, 0), "12.3"), ((1, 1), ".00"), ((1, 2), ".00")]
    assert written(axes) == dict([first, second, *rest])


def test_a_larger_number_is_brighter_and_its_ink_can_be_read():
    (axes,) = attention_strip([("p", np.linspace(0, 1, 11)[None])]).axes
    image = axes.get_images()[0]
    bright = image.to_rgba(np.asarray(image.get_array()))[0, :, :3].mean(-1)
    assert np.all(np.diff(bright) > 0)
    for cell, text in zip(bright, axes.texts, strict=True):
        ink = {"white": 1.0, "black": 0.0}[str(text.get_color())]
        assert abs(cell - ink) > 0.38


def test_what_may_not_be_seen_is_left_empty():
    (axes,) = attention_strip([("scores", np.array([[1.0, -np.inf], [2.0, 3.0]]))]).axes
    assert set(written(axes)) == {(0, 0), (1, 0), (1, 1)}
    assert np.isnan(np.ma.filled(axes.get_images()[0].get_array(), np.nan)[0, 1])


def test_words_stand_beside_the_rows_and_above_columns_of_their_number():
    parts = [("q", np.eye(3)[:, :2]), ("scores", np.eye(3)), ("v", np.eye(3)[:, :2])]
    words = ["a", "red", "star"]
    q, scores, v = attention_strip(parts, rows=words, columns=words).axes
    assert [label.get_text() for label in q.get_yticklabels()] == words
    assert [label.get_text() for label in scores.get_xticklabels()] == words
    assert not v.get_xticklabels()
    assert not scores.get_yticklabels()


@pytest.mark.parametrize(
    ("number", "words"), [(9.994, "9.99"), (9.996, "10.0"), (-99.96, "−100"), (-0.996, "−1.00")]
)
def test_a_number_has_three_digits(number, words):
    (axes,) = attention_strip([("q", np.array([[number, 1.0]]))]).axes
    assert written(axes)[0, 0] == words


def test_a_strip_of_six_matrices_is_no_wider_than_a_page():
    parts = [("q", np.eye(4, 3)), ("scores", np.eye(4))] * 3
    assert attention_strip(parts, rows=["circle"] * 4).get_figwidth() < 10


def test_a_matrix_of_equal_numbers_can_be_drawn(tmp_path):
    save_figure(attention_strip([("ones", np.ones((2, 2)))]), tmp_path / "strip.png")


def test_numbers_do_not_run_into_the_next_cell(tmp_path):
    figure = attention_strip([("q", np.full((2, 3), -12.34)), ("k", np.full((2, 3), -9.99))])
    save_figure(figure, tmp_path / "strip.png")  # lays it out
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize("parts", [[], [("q", np.ones(3))]])
def test_what_is_no_matrix_is_an_error(parts):
    with pytest.raises(ValueError, match="made of matrices"):
        attention_strip(parts)

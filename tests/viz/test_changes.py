"""What training moved: shares of the length before; what is frozen says so."""

import numpy as np
import pytest

from minivlm.viz.changes import change_bars, relative_changes
from minivlm.viz.style import save_figure

BEFORE = {"eye.a": np.array([3.0, 4.0]), "eye.b": np.zeros(2), "head.w": np.array([[2.0]])}
PARTS = {"eye": "eye.", "head": "head."}


def test_a_change_is_a_share_of_the_length_of_the_whole_part():
    after = BEFORE | {"eye.b": np.array([0.0, 0.5])}
    assert relative_changes(BEFORE, after, PARTS) == {"eye": 0.1, "head": 0.0}


def test_a_part_that_began_at_zero_has_no_share():
    before, after = {"b": np.zeros(2)}, {"b": np.ones(2)}
    assert relative_changes(before, after, {"b": "b"}) == {"b": float("inf")}
    assert relative_changes(before, before, {"b": "b"}) == {"b": 0.0}


def test_a_prefix_that_names_nothing_is_an_error():
    with pytest.raises(ValueError, match="'nose'"):
        relative_changes(BEFORE, BEFORE, {"nose": "nose"})


def test_bars_are_as_long_as_changes_and_what_did_not_move_is_frozen(tmp_path):
    figure = change_bars({"one": {"eye": 0.0, "head": 0.2}, "two": {"eye": 0.1, "head": 0.05}})
    save_figure(figure, tmp_path / "changes.png")
    one, two = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]
    assert [label.get_text() for label in one.get_yticklabels()] == ["eye", "head"]
    assert [bar.get_width() for bar in one.patches] == [0.0, 0.2]
    assert [bar.get_width() for bar in two.patches] == [0.1, 0.05]
    assert [words.get_text().strip() for words in one.texts] == ["frozen", "20.0%"]
    assert [words.get_text().strip() for words in two.texts] == ["10.0%", "5.0%"]
    assert one.get_xlim() == two.get_xlim()  # one scale for all


@pytest.mark.parametrize("stages", [{}, {"one": {}}, {"one": {"a": 0.1}, "two": {"b": 0.1}}])
def test_stages_without_the_same_parts_are_an_error(stages):
    with pytest.raises(ValueError, match="same parts"):
        change_bars(stages)

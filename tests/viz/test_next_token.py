"""The bars of the next token: the most probable on top, as long as they are probable."""

import numpy as np
import pytest

from minivlm.viz.next_token import next_token_bars
from minivlm.viz.style import save_figure

NAMES = [" red", "", " blue", "a", " star"]
P = np.array([0.2, 0.05, 0.5, 0.15, 0.1])


def labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_the_most_probable_tokens_stand_on_top_with_their_probabilities(tmp_path):
    figure = next_token_bars([("a large", P)], NAMES, most=3)
    save_figure(figure, tmp_path / "bars.png")
    [axes] = figure.axes
    assert labels(axes) == ["·blue", "·red", "a"]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [0.5, 0.2, 0.15])
    bottom, top = axes.get_ylim()
    assert top < bottom  # the first is uppermost
    assert axes.get_title() == "a large …"


def test_each_text_has_a_panel_of_its_own_and_an_empty_token_a_name():
    figure = next_token_bars([("one", P), ("two", P[::-1])], NAMES)
    first, second = figure.axes
    assert labels(first)[0] == labels(second)[0] == "·blue"
    assert labels(first)[-1] == "∅"
    assert labels(second)[1] == "·star"
    assert first.get_xlim() == second.get_xlim()


def test_ticks_stand_where_the_world_has_them():
    figure = next_token_bars([("a", P)], NAMES, most=3, truth=[{" red": 0.7, " star": 0.9}])
    [tick] = figure.axes[0].lines  # the star is not among the first three
    np.testing.assert_array_equal(tick.get_xdata(), [0.7, 0.7])
    assert np.mean(tick.get_ydata()) == 1  # beside the second bar
    assert figure.axes[0].get_xlim()[1] > 0.7


@pytest.mark.parametrize(
    ("panels", "truth"), [([], None), ([("a", P[:2])], None), ([("a", P)], [])]
)
def test_what_does_not_fit_is_an_error(panels, truth):
    with pytest.raises(ValueError, match=r"bars are for|do not fit"):
        next_token_bars(panels, NAMES, truth=truth)

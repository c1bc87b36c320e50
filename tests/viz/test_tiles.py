"""The tiles of a softmax: the numbers are those of attention, and stand in the right cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from minivlm.ops.attention import attend
from minivlm.viz.style import BLUE, GREEN, ORANGE
from minivlm.viz.tiles import FORGOTTEN, draw_tiles, growth, online_softmax


def heads(T=3, S=5, C=2, seed=0):
    rng = np.random.default_rng(seed)
    return 3 * rng.standard_normal((T, C)), *rng.standard_normal((2, S, C))


def by_attend(q, k, v):
    y, _ = attend(q[None, None], k[None, None], v[None, None])
    return y[0, 0]


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 4), st.integers(1, 10))
def test_after_each_tile_the_mean_is_attention_over_the_keys_so_far(T, S, C, tile):
    q, k, v = heads(T, S, C)
    steps = online_softmax(q, k, v, tile)
    assert sum(step.scores.shape[1] for step in steps) == S
    for step in steps:
        passed = step.first + step.scores.shape[1]
        np.testing.assert_allclose(step.mean, by_attend(q, k[:passed], v[:passed]), rtol=1e-9)


def test_the_log_of_the_sum_is_that_of_all_exponentials():
    q, k, v = heads()
    scores = q @ k.T / np.sqrt(2)
    step = online_softmax(q, k, v, 2)[-1]
    np.testing.assert_allclose(step.lse, np.log(np.exp(scores).sum(1)))
    np.testing.assert_array_equal(step.top, scores.max(1))


def test_sums_shrink_only_where_a_larger_score_has_come():
    q, k, v = np.ones((1, 1)), np.array([[0.0], [2.0], [1.0]]), np.ones((3, 1))
    steps = online_softmax(q, k, v, 1)
    assert [step.top[0] for step in steps] == [0, 2, 2]
    assert [step.shrink[0] for step in steps] == [0, np.exp(-2), 1]
    assert [step.total[0] for step in steps] == pytest.approx(
        [1, np.exp(-2) + 1, np.exp(-2) + 1 + np.exp(-1)]
    )


def test_large_scores_do_not_overflow():
    q, k, v = heads()
    steps = online_softmax(1e4 * q, k, v, 2)
    assert np.isfinite(steps[-1].mean).all()


def test_float32_stays_float32():
    q, k, v = (array.astype(np.float32) for array in heads())
    for step in online_softmax(q, k, v, 2):
        for array in (step.scores, step.top, step.shrink, step.total, step.row):
            assert array.dtype == np.float32


def shown(axes):
    """The words of each cell."""
    return {
        (round(text.get_position()[1]), round(text.get_position()[0])): text.get_text()
        for text in axes.texts
    }


def colour(axes, row, column):
    """Of the last rectangle that lies on a cell."""
    found = ""
    for patch in axes.patches:
        x, y = patch.get_xy()
        if x <= column < x + patch.get_width() and y <= row < y + patch.get_height():
            found = to_hex(patch.get_facecolor())
    return found


def words(number):
    text = f"{number:.2f}".replace("-", "−")
    return text.replace("0.", ".", 1) if abs(number) < 1 else text


def test_a_line_shows_its_tile_of_scores_and_only_that():
    q, k, v = heads()
    steps = online_softmax(q, k, v, 2)
    grid = np.array(draw_tiles(steps).axes).reshape(3, 6)
    for line, step in zip(grid, steps, strict=True):
        width = step.scores.shape[1]
        texts = shown(line[0])
        assert texts == {
            (i, step.first + j): words(step.scores[i, j]) for i in range(3) for j in range(width)
        }
    titles = [line[0].get_title() for line in grid]
    assert titles == [f"scores of {keys}" for keys in ("keys 0 to 1", "keys 2 to 3", "key 4")]
    assert colour(grid[1, 0], 0, 1) == FORGOTTEN.lower()
    assert colour(grid[1, 0], 0, 4) == ""  # has yet to come


def test_a_new_largest_score_is_marked_in_the_tile_and_beside_it():
    q, k, v = np.ones((1, 1)), np.array([[0.0], [2.0], [1.0], [1.5]]), np.ones((4, 1))
    grid = np.array(draw_tiles(online_softmax(q, k, v, 2)).axes).reshape(2, 6)
    first, second = grid
    assert colour(first[0], 0, 0) == BLUE.lower()
    assert colour(first[0], 0, 1) == colour(first[1], 0, 0) == ORANGE.lower()
    assert colour(second[0], 0, 2) == colour(second[0], 0, 3) == BLUE.lower()
    assert colour(second[1], 0, 0) == "#ffffff"


def test_beside_the_scores_stand_what_is_kept_and_at_the_end_the_result():
    q, k, v = heads()
    steps = online_softmax(q, k, v, 2)
    grid = np.array(draw_tiles(steps).axes).reshape(3, 6)
    titles = [axes.get_title() for axes in grid[0, 1:]]
    assert titles == ["largest", "shrink", "sum", "Σ weight·v", "the mean so far"]
    for line, step in zip(grid, steps, strict=True):
        kept = step.top[:, None], step.shrink[:, None], step.total[:, None], step.row, step.mean
        for axes, matrix in zip(line[1:], kept, strict=True):
            assert shown(axes) == {at: words(number) for at, number in np.ndenumerate(matrix)}
    assert colour(grid[2, 5], 0, 0) == GREEN.lower()
    assert colour(grid[1, 5], 0, 0) == "#ffffff"


def test_rows_and_columns_can_have_names():
    q, k, v = heads(T=2, S=3)
    axes = draw_tiles(online_softmax(q, k, v, 3), ["it", "is"], ["a", "red", "dot"]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["it", "is"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "red", "dot"]


def test_growth_names_the_power_of_each_line():
    sizes = [8, 16, 32]
    lines = {"square": [n**2 for n in sizes], "straight": [5 * n for n in sizes]}
    figure = growth(sizes, [("bytes", lines), ("numbers", {"straight": sizes})])
    left, right = figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("bytes", "numbers")
    square, straight = left.get_lines()
    assert list(square.get_xdata()) == sizes
    assert list(square.get_ydata()) == lines["square"]
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["square (slope 2.0)", "straight (slope 1.0)"]
    assert right.get_lines()[0].get_color() == straight.get_color() != square.get_color()
    assert (left.get_xscale(), left.get_yscale()) == ("log", "log")


def test_what_makes_no_picture_is_an_error():
    q, k, v = heads()
    with pytest.raises(ValueError, match="tiles of 0"):
        online_softmax(q, k, v, 0)
    with pytest.raises(ValueError, match="0 keys"):
        online_softmax(q, k[:0], v[:0], 2)
    with pytest.raises(ValueError, match="at least one"):
        draw_tiles([])
    with pytest.raises(ValueError, match="do not make curves"):
        growth([8], [("", {"a": [1]})])
    with pytest.raises(ValueError, match="do not make curves"):
        growth([8, 16], [])

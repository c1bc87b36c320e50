"""Pairs as points: where they are, that each is joined to its own, and how far apart they are."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from minivlm.viz.embedding import joined_points, principal_axes
from minivlm.viz.style import BLUE, ORANGE, save_figure

RNG = np.random.default_rng(0)


def test_the_first_direction_is_the_one_in_which_points_differ_most():
    points = np.zeros((50, 4)) + 7
    points[:, 2] += RNG.standard_normal(50) * 10
    points[:, 0] += RNG.standard_normal(50)
    mean, directions = principal_axes(points)
    np.testing.assert_allclose(mean, points.mean(0))
    assert np.abs(directions[0]).argmax() == 2
    assert np.abs(directions[1]).argmax() == 0
    np.testing.assert_allclose(directions @ directions.T, np.eye(2), atol=1e-12)


def test_points_without_two_directions_are_an_error():
    with pytest.raises(ValueError, match="no 2 directions"):
        principal_axes(np.ones((5, 1)))


def test_distances_in_the_plane_are_kept_and_each_picture_is_joined_to_its_own_text(tmp_path):
    images, texts = RNG.standard_normal((2, 6, 2))  # two dimensions lose nothing
    figure = joined_points([("late", images, texts)])
    save_figure(figure, tmp_path / "points.png")
    (axes,) = figure.axes
    seen, said = (np.asarray(dots.get_offsets()) for dots in axes.collections)
    both, drawn = np.concatenate([images, texts]), np.concatenate([seen, said])
    lengths = np.linalg.norm(both[:, None] - both[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(drawn[:, None] - drawn[None], axis=-1), lengths)
    assert len(axes.lines) == 6
    for n, line in enumerate(axes.lines):
        np.testing.assert_allclose(line.get_xydata(), [seen[n], said[n]])


def test_each_panel_tells_the_mean_distance_of_its_pairs():
    images = RNG.standard_normal((4, 3))
    near, far = images + np.array([0.1, 0, 0]), images + np.array([0, 3, 4])
    figure = joined_points([("late", images, near), ("early", images, far)])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "late\nmean distance of a pair 0.10"
    assert titles[1] == "early\nmean distance of a pair 5.00"


def test_pictures_and_texts_have_a_colour_each_or_one_a_pair():
    points = RNG.standard_normal((2, 3, 4))
    (axes,) = joined_points([("", *points)]).axes
    assert [to_hex(d.get_facecolor()[0]).upper() for d in axes.collections] == [BLUE, ORANGE]
    inks = ["#ff0000", "#00ff00", "#0000ff"]
    (axes,) = joined_points([("", *points)], colors=inks).axes
    for dots in axes.collections:
        assert [to_hex(color) for color in dots.get_facecolor()] == inks


def test_labels_stand_at_the_pictures_of_the_last_panel():
    points = RNG.standard_normal((2, 3, 4))
    first, last = joined_points([("a", *points), ("b", *points)], labels=["x", "y", "z"]).axes
    assert not first.texts
    assert [text.get_text() for text in last.texts] == ["x", "y", "z"]
    seen = np.asarray(last.collections[0].get_offsets())
    np.testing.assert_allclose([text.xy for text in last.texts], seen)


def test_a_label_stands_on_the_side_where_the_line_is_not():
    images = np.array([[0.0, 0.0], [4.0, 1.0]])
    texts = images + np.array([[1.0, 0.0], [-1.0, 0.0]])  # towards each other
    (axes,) = joined_points([("", images, texts)], labels=["x", "y"]).axes
    seen, said = (np.asarray(dots.get_offsets()) for dots in axes.collections)
    for text, a, b in zip(axes.texts, seen, said, strict=True):
        assert text.get_ha() == ("right" if b[0] > a[0] else "left")


def test_what_is_no_pair_is_an_error():
    with pytest.raises(ValueError, match="are no pairs"):
        joined_points([("", np.ones((3, 4)), np.ones((2, 4)))])
    with pytest.raises(ValueError, match="1 labels or colours are not one for 3 pairs"):
        joined_points([("", *RNG.standard_normal((2, 3, 4)))], labels=["x"])

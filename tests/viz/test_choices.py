"""What a CLIP chose: confusions, temperatures, scores; right cells, right bars, right marks."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from minivlm.evaluate.score import Score
from minivlm.viz.confusion import confusion, confusion_matrix
from minivlm.viz.scores import above_chance, compared_bars, score_bars
from minivlm.viz.similarity import similarity_moments
from minivlm.viz.style import BLUE, GRAY, ORANGE, save_figure
from minivlm.viz.temperature import temperature_bars


def test_confusions_are_counted_with_the_truth_in_rows():
    counts = confusion([0, 0, 1, 2], [0, 1, 1, 0], 3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(("truth", "said"), [([0], [0, 1]), ([3], [0]), ([0], [-1])])
def test_confusions_of_what_is_no_class_are_an_error(truth, said):
    with pytest.raises(ValueError, match=r"do not fit|not in 0\.\.2"):
        confusion(truth, said, 3)


def test_the_matrix_writes_counts_shades_by_the_row_and_frames_the_worst(tmp_path):
    counts = np.array([[90, 10, 0], [0, 3, 1], [0, 0, 7]])
    figure = confusion_matrix(counts, ["circle", "star", "ring"])
    save_figure(figure, tmp_path / "confusion.png")
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.get_images()[0].get_array()[1], [0, 0.75, 0.25])
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "90", (1, 0): "10", (1, 1): "3", (2, 1): "1", (2, 2): "7"}
    (frame,) = axes.patches
    assert frame.get_xy() == (0.5, -0.5)  # said star, is circle
    assert [label.get_text() for label in axes.get_yticklabels()] == ["circle", "star", "ring"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("said", "is")


def test_a_matrix_without_mistakes_frames_nothing():
    axes = confusion_matrix(np.eye(2, dtype=int), ["a", "b"]).axes[0]
    assert not axes.patches
    with pytest.raises(ValueError, match="do not fit 3 names"):
        confusion_matrix(np.eye(2), ["a", "b", "c"])


def lengths(axes):
    return np.array([bar.get_width() for bar in axes.patches])


def test_a_colder_temperature_gives_the_nearest_more(tmp_path):
    cosines = np.array([0.8, 0.6, -0.2])
    figure = temperature_bars(cosines, ["a", "b", "c"], [1.0, 0.1, 0.01], right=1)
    save_figure(figure, tmp_path / "temperature.png")
    first, *panels = figure.axes
    np.testing.assert_allclose(lengths(first), cosines)
    shares = [lengths(axes) for axes in panels]
    np.testing.assert_allclose([s.sum() for s in shares], 1)
    assert shares[0][0] < 0.5 < shares[1][0] < 0.99 < shares[2][0]
    np.testing.assert_allclose(shares[1][0] / shares[1][1], np.exp(0.2 / 0.1))
    colors = [to_hex(bar.get_facecolor()).upper() for bar in panels[0].patches]
    assert colors == [BLUE, ORANGE, BLUE]
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "b", "c"]


def test_a_temperature_of_zero_and_missing_names_are_errors():
    with pytest.raises(ValueError, match="not above 0"):
        temperature_bars(np.ones(2), ["a", "b"], [0.0], right=0)
    with pytest.raises(ValueError, match="do not fit 1 names"):
        temperature_bars(np.ones(2), ["a"], [1.0], right=0)


def test_scores_that_are_not_above_guessing_are_orange(tmp_path):
    scores = [Score("shape", 0.9, 0.125, 400), Score("  binding", 0.52, 0.5, 400)]
    assert [above_chance(score) for score in scores] == [True, False]
    figure = score_bars(scores)
    save_figure(figure, tmp_path / "scores.png")
    axes = figure.axes[0]
    np.testing.assert_allclose(lengths(axes), [0.9, 0.52])
    colors = [to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
    assert colors == [BLUE, ORANGE]
    ticks = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
    assert {0.125, 0.5} <= set(ticks)
    [guessing] = axes.get_legend_handles_labels()[0]
    assert guessing.get_marker() == "|"  # upright, as the ticks are
    assert [text.get_text() for text in axes.texts] == ["90%", "52%"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["shape", "binding"]
    with pytest.raises(ValueError, match="nothing was measured"):
        score_bars([])


def test_models_stand_beside_each_other_with_a_tick_for_the_first(tmp_path):
    models = {"one": [0.9, 0.5], "two": [0.8, 0.4], "three": [0.1, 0.0]}
    figure = compared_bars(["shape", "binding"], models, [0.125, 0.5])
    save_figure(figure, tmp_path / "compared.png")
    [axes] = figure.axes
    one, two, three = axes.containers
    assert [bars.get_label() for bars in axes.containers] == list(models)
    for bars, shares, color in zip(
        (one, two, three), models.values(), (ORANGE, BLUE, GRAY), strict=True
    ):
        np.testing.assert_allclose([bar.get_width() for bar in bars], shares)
        assert {to_hex(bar.get_facecolor()).upper() for bar in bars} == {color}
    tops = [bars[1].get_y() for bars in (one, two, three)]
    assert tops == sorted(tops)
    assert all(bars[1].get_y() > three[0].get_y() + three[0].get_height() for bars in (one, two))
    ticks = [line for line in axes.lines if len(line.get_xdata()) == 2]
    assert [line.get_xdata()[0] for line in ticks] == [0.125, 0.5]
    for tick, bar in zip(ticks, one, strict=True):  # across the first model's bar
        middle = bar.get_y() + bar.get_height() / 2
        assert np.mean(tick.get_ydata()) == pytest.approx(middle)
    assert [text.get_text() for text in axes.texts] == ["90%", "50%", "80%", "40%", "10%", "0%"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["shape", "binding"]
    bottom, top = axes.get_ylim()
    assert top < bottom
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*models, "guessing"]


@pytest.mark.parametrize(
    ("models", "chance"),
    [
        ({}, [0.5]),
        ({"a": [1.0, 1.0]}, [0.5]),
        ({"a": [1.0]}, []),
        ({name: [1.0] for name in "abcd"}, [0.5]),
    ],
)
def test_models_that_do_not_fit_the_questions_are_an_error(models, chance):
    with pytest.raises(ValueError, match="1 questions do not fit"):
        compared_bars(["shape"], models, chance)


def test_blocks_of_the_similarity_matrix_are_named_at_their_middles():
    figure = similarity_moments([(0, np.eye(6)), (5, np.eye(6))], blocks=["red", "blue"])
    first, second = figure.axes[:2]
    assert list(first.get_yticks()) == list(first.get_xticks()) == [1, 4]
    assert [label.get_text() for label in first.get_yticklabels()] == ["red", "blue"]
    assert list(second.get_yticks()) == []
    assert {line.get_xdata()[0] for line in first.lines} >= {2.5}
    with pytest.raises(ValueError, match="4 blocks"):
        similarity_moments([(0, np.eye(6))], blocks=["a", "b", "c", "d"])

"""Pictures are tested for what they show: the right cell bright, the right frame, the words."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from minivlm.viz.curves import smoothed, stage_curves, training_curves
from minivlm.viz.sheets import contact_sheet, retrieval_grid
from minivlm.viz.similarity import diagonal_means, similarity_moments
from minivlm.viz.style import GREEN, new_figure, save_figure, wrapped


def pictures(count):
    """Each of another grey."""
    return np.stack([np.full((8, 8, 3), 20 * i, np.uint8) for i in range(count)])


def shown(axes):
    return axes.get_images()[0].get_array()


def log(steps):
    return [{"number": i, "loss": 5.0 - i, "temperature": 0.07} for i in range(steps)]


def test_curves_show_every_loss_and_the_line_of_guessing():
    figure = training_curves(log(4), guessing=4.85)
    loss, temperature = figure.axes
    raw, mean, guessing = loss.get_lines()
    assert list(raw.get_xdata()) == [1, 2, 3, 4]
    assert list(raw.get_ydata()) == [5, 4, 3, 2]
    assert mean.get_ydata()[0] == 5
    assert set(guessing.get_ydata()) == {4.85}
    assert list(temperature.get_lines()[0].get_ydata()) == [0.07] * 4
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("step", "nats a choice")
    assert loss.get_ylim()[0] == 0


def test_the_smoothed_curve_begins_at_the_first_value_and_follows():
    assert smoothed(np.full(5, 3.0)) == pytest.approx([3.0] * 5)
    assert np.all(np.diff(smoothed(np.arange(10.0))) > 0)


def test_curves_of_nothing_are_an_error():
    with pytest.raises(ValueError, match="without steps"):
        training_curves([], 1.0)


def test_each_stage_has_its_curve_and_all_have_one_scale():
    logs = [("reading", log(4)), ("alignment", log(2)), ("instruction", log(3))]
    figure = stage_curves(logs)
    assert [axes.get_title() for axes in figure.axes] == ["reading", "alignment", "instruction"]
    for axes, (_, lines) in zip(figure.axes, logs, strict=True):
        raw, mean = axes.get_lines()
        losses = [line["loss"] for line in lines]
        assert list(raw.get_xdata()) == [line["number"] + 1 for line in lines]
        assert list(raw.get_ydata()) == losses
        assert list(mean.get_ydata()) == list(smoothed(np.array(losses)))
        assert [text.get_text() for text in axes.texts] == [f"{mean.get_ydata()[-1]:.3f}"]
        assert axes.get_yscale() == "log"
        assert axes.get_ylim() == figure.axes[0].get_ylim()
    assert figure.axes[0].get_ylabel() == "nats a token that is learnt"


def test_one_stage_alone_has_a_curve_too(tmp_path):
    figure = stage_curves([("reading", log(3))])
    save_figure(figure, tmp_path / "stages.png")
    assert len(figure.axes) == 1


@pytest.mark.parametrize("logs", [[], [("reading", [])], [("reading", log(2)), ("alignment", [])]])
def test_stages_without_steps_are_an_error(logs):
    with pytest.raises(ValueError, match="without steps"):
        stage_curves(logs)


def test_each_moment_shows_its_matrix_in_one_scale():
    early, late = np.full((3, 3), 0.1), np.eye(3)
    figure = similarity_moments([(0, early), (700, late)])
    first, second = figure.axes[:2]
    np.testing.assert_array_equal(shown(second), late)
    np.testing.assert_array_equal(shown(first), early)
    assert first.get_images()[0].get_clim() == second.get_images()[0].get_clim()
    assert second.get_title() == "after 700 steps\npairs +1.00, others +0.00"
    colors = second.get_images()[0].to_rgba(np.array([[1.0, 0.0]]))[0, :, :3].mean(-1)
    assert colors[0] > colors[1]  # a pair that belongs together is brighter


def test_means_on_and_off_the_diagonal():
    assert diagonal_means(np.array([[1.0, 0.2], [0.4, 0.6]])) == pytest.approx((0.8, 0.3))


def test_a_matrix_that_is_not_square_is_an_error():
    with pytest.raises(ValueError, match="square"):
        similarity_moments([(0, np.zeros((2, 3)))])
    with pytest.raises(ValueError, match="square"):
        similarity_moments([])


def test_a_sheet_shows_each_picture_above_its_caption():
    figure = contact_sheet(pictures(5), [f"picture {i}" for i in range(5)], columns=3)
    cells = figure.axes
    assert len(cells) == 6
    for i in range(5):
        np.testing.assert_array_equal(shown(cells[i]), pictures(5)[i])
        assert cells[i].get_xlabel() == f"picture {i}"
    assert not cells[5].get_images()


def test_a_sheet_needs_a_caption_for_each_picture():
    with pytest.raises(ValueError, match="2 pictures cannot stand above 1 captions"):
        contact_sheet(pictures(2), ["one"])


def test_a_grid_shows_the_nearest_first_and_marks_the_right_one():
    similarity = np.array([[0.1, 0.9, 0.5, 0.2], [0.3, 0.1, 0.2, 0.8]])
    right = np.array([[0, 0, 1, 0], [0, 0, 0, 1]], bool)
    figure = retrieval_grid(["first", "second"], pictures(4), similarity, right, top=3)
    rows = np.array(figure.axes).reshape(2, 4)
    assert [axes.get_title() for axes in rows[0, 1:]] == ["+0.90", "+0.50 ✓", "+0.20"]
    assert [axes.get_title() for axes in rows[1, 1:]] == ["+0.80 ✓", "+0.30", "+0.20"]
    assert [shown(axes)[0, 0, 0] for axes in rows[0, 1:]] == [20, 40, 60]
    framed = rows[0, 2].spines["left"]
    assert framed.get_visible()
    assert to_hex(framed.get_edgecolor()).upper() == GREEN
    assert not rows[0, 1].spines["left"].get_visible()
    assert rows[0, 0].texts[0].get_text() == "first"


def test_a_grid_needs_a_similarity_for_each_pair():
    with pytest.raises(ValueError, match="are not"):
        retrieval_grid(["a"], pictures(2), np.zeros((1, 3)), np.zeros((1, 3), bool))


def test_long_words_end_in_a_sign():
    assert wrapped("one two three", 7, 3) == "one two\nthree"
    assert wrapped("one two three four five", 7, 2) == "one two\nthree…"
    assert wrapped("", 7, 2) == ""
    assert wrapped("half a pair: \ud83d", 30, 2) == r"half a pair: \ud83d"


def test_a_dollar_in_a_caption_is_a_dollar(tmp_path):
    words = [r"$5 or $\frac$", "half a pair: \ud83d"]
    sheet = contact_sheet(pictures(2), words)
    grid = retrieval_grid(words, pictures(2), np.eye(2), np.eye(2, dtype=bool))
    for name, figure in (("sheet.png", sheet), ("grid.png", grid)):
        save_figure(figure, tmp_path / name)  # reads the words
    assert sheet.axes[0].get_xlabel() == grid.axes[0].texts[0].get_text() == words[0]


def test_captions_do_not_run_into_each_other(tmp_path):
    figure = contact_sheet(pictures(8), ["a large striped purple diamond " * 6] * 8, columns=4)
    save_figure(figure, tmp_path / "sheet.png")  # lays it out
    boxes = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_same_figure_is_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        save_figure(training_curves(log(3), 1.0), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 900
    assert new_figure(1, 1).get_size_inches().tolist() == [1, 1]

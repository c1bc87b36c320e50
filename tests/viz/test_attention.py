"""Attention over a picture: the place that is looked at is the brightest, and numbers are true."""

import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from minivlm.viz.attention import IN_A_ROW, answer_attention
from minivlm.viz.style import png, save_figure

GREY = np.full((48, 48, 3), 90, np.uint8)


def looking_at(row, column, share=0.4, rest=0.01, side=3):
    """Attention to one place, and a little to all others."""
    weights = np.full((side, side), rest)
    weights[row, column] = share
    return weights


def panels(figure):
    return [axes for axes in figure.axes if axes.get_images()]


def brightness(figure):
    """How bright each panel is drawn in each of its nine places, (panels, 3, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3].mean(-1)  # from the bottom up
    drawn = []
    for axes in panels(figure):
        box = axes.get_window_extent()
        ys = box.y1 - (np.arange(3) + 0.8) / 3 * box.height  # beneath the numbers
        xs = box.x0 + (np.arange(3) + 0.8) / 3 * box.width
        drawn.append(pixels[np.ix_(ys.astype(int), xs.astype(int))])
    return np.array(drawn)


@pytest.mark.parametrize("place", [(0, 0), (0, 2), (1, 1), (2, 0)])
def test_the_place_that_a_word_looks_at_is_drawn_brightest(place):
    figure = answer_attention(GREY, "what?", ["red"], looking_at(*place)[None])
    picture, looked = brightness(figure)
    assert np.ptp(picture) == 0  # the picture as it is
    assert np.unravel_index(looked.argmax(), (3, 3)) == place
    assert np.sort(looked.ravel())[-2] < looked[place] - 50


def test_each_word_has_a_panel_with_its_own_scale_its_name_and_its_share():
    weights = np.stack([looking_at(0, 1, 0.4, 0.02), looking_at(2, 2, 0.06, 0.003)])
    figure = answer_attention(GREY, "what is it?", ["red", "star"], weights)
    picture, red, star = panels(figure)
    assert picture.get_title() == "the picture"
    assert red.get_title() == "red\n56% to the picture"
    assert star.get_title() == "star\n8% to the picture"
    assert figure.get_suptitle() == "what is it?"
    np.testing.assert_array_equal(picture.get_images()[0].get_array(), GREY)
    for axes, paid in zip((red, star), weights, strict=True):
        below, above = axes.get_images()
        np.testing.assert_array_equal(below.get_array(), GREY)
        np.testing.assert_array_equal(above.get_array(), paid)
        assert above.get_clim() == (0, paid.max())
        assert above.get_extent() == below.get_extent()
    looked = brightness(figure)[1:]
    assert abs(looked[0, 0, 1] - looked[1, 2, 2]) < 1


def test_numbers_stand_in_the_places_whose_share_they_are():
    weights = np.arange(9).reshape(1, 3, 3) / 100
    (_, axes) = panels(answer_attention(GREY, "what?", ["red"], weights))
    found = np.full((3, 3), "", object)
    for text in axes.texts:
        x, y = text.get_position()
        found[int(y // 16), int(x // 16)] = text.get_text()
    assert found.ravel().tolist() == [f"{n}%" for n in range(9)]


def test_many_words_go_on_in_further_rows():
    figure = answer_attention(GREY, "what?", ["word"] * 8, np.full((8, 2, 2), 0.1))
    assert len(panels(figure)) == 9
    assert len(figure.axes) == 2 * IN_A_ROW
    tops = [round(axes.get_subplotspec().rowspan.start) for axes in panels(figure)]
    assert tops == [0] * IN_A_ROW + [1] * (9 - IN_A_ROW)
    assert not any(axes.axison for axes in figure.axes[9:])


def test_a_file_of_many_panels_is_small_and_has_nearly_the_same_colours():
    noisy = np.random.default_rng(0).integers(80, 100, (48, 48, 3)).astype(np.uint8)
    noisy[20:30, 5:15] = 220, 40, 40
    small, full = (
        answer_attention(noisy, "what?", ["word"] * 9, np.full((9, 3, 3), 0.1)) for _ in range(2)
    )
    full.palette = False
    small, full = png(small), png(full)
    assert len(small) < 0.6 * len(full)
    with Image.open(io.BytesIO(small)) as few, Image.open(io.BytesIO(full)) as all_of_them:
        few, all_of_them = (np.asarray(im.convert("RGB"), float) for im in (few, all_of_them))
    assert few.shape == all_of_them.shape
    assert np.abs(few - all_of_them).mean() < 3
    assert np.abs(few - all_of_them).max() < 40


@pytest.mark.parametrize(
    ("words", "weights"),
    [
        ([], np.zeros((0, 3, 3))),
        (["a"], np.zeros((2, 3, 3))),
        (["a", "b"], np.zeros((1, 3, 3))),
    ],
)
def test_words_and_weights_that_do_not_fit_are_an_error(words, weights):
    message = f"{len(weights)} maps of attention do not fit {len(words)} words"
    with pytest.raises(ValueError, match=message):
        answer_attention(GREY, "what?", words, weights)


@pytest.mark.parametrize("text", [r"$5 or $\frac$?", "<b>&amp;</b>", "a" * 500, "%s {x}", ""])
def test_whatever_is_asked_and_answered_can_be_drawn(tmp_path, text):
    figure = answer_attention(GREY, text, [text], looking_at(1, 1)[None])
    save_figure(figure, tmp_path / "attention.png")
    if len(text) < 20:
        assert figure.get_suptitle() == text
    with Image.open(tmp_path / "attention.png") as drawn:
        assert drawn.width > drawn.height > 200


def test_half_a_surrogate_pair_is_spelled_out(tmp_path):
    figure = answer_attention(GREY, "what \ud83d?", ["\ud83d"], looking_at(1, 1)[None])
    save_figure(figure, tmp_path / "attention.png")
    assert figure.get_suptitle() == r"what \ud83d?"


def test_a_model_that_does_not_look_at_the_picture_is_drawn_too(tmp_path):
    figure = answer_attention(GREY, "what?", ["red"], np.zeros((1, 3, 3)))
    save_figure(figure, tmp_path / "attention.png")
    assert panels(figure)[1].get_title() == "red\n0% to the picture"

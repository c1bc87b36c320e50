"""Where heads look: the patch that gets the attention is bright, rollout multiplies layers."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from minivlm.viz.heads import head_overlays, map_overlays, named_overlays, rollout
from minivlm.viz.occlusion import occlusion
from minivlm.viz.style import save_figure

GREY = np.full((48, 48, 3), 90, np.uint8)
RNG = np.random.default_rng(0)


def random_attention(heads, tokens):
    weights = RNG.random((heads, tokens, tokens))
    return weights / weights.sum(-1, keepdims=True)


def all_look_at(token, heads=1, tokens=9):
    weights = np.zeros((heads, tokens, tokens))
    weights[..., token] = 1
    return weights


def values(axes):
    return np.asarray(axes.get_images()[1].get_array())


def brightness(figure, axes):
    """How bright a panel is drawn in each of its nine places, (3, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3].mean(-1)  # from the bottom up
    box = axes.get_window_extent()
    ys = box.y1 - (np.arange(3) + 0.5) / 3 * box.height
    xs = box.x0 + (np.arange(3) + 0.5) / 3 * box.width
    return pixels[np.ix_(ys.astype(int), xs.astype(int))]


def test_rollout_of_one_layer_is_half_attention_half_itself():
    weights = random_attention(2, 5)
    expected = (weights[0] + weights[1]) / 4 + np.eye(5) / 2
    np.testing.assert_allclose(rollout([weights]), expected)


def test_rollout_follows_a_message_through_two_layers():
    first, second = np.eye(3)[None].copy(), np.eye(3)[None].copy()
    first[0, 1] = [0, 0, 1]  # token 1 fetches from 2,
    second[0, 0] = [0, 1, 0]  # then token 0 from 1
    through = rollout([first, second])
    assert through[0, 2] == pytest.approx(0.25)
    assert rollout([second, first])[0, 2] == 0  # the other way round, nothing arrives
    np.testing.assert_allclose(through.sum(1), 1)


@pytest.mark.parametrize("place", [0, 4, 5, 7])
def test_the_patch_that_is_looked_at_is_drawn_brightest(place):
    figure = head_overlays(GREY, [all_look_at(place)])
    drawn = brightness(figure, figure.axes[1])
    assert drawn.argmax() == place
    assert np.sort(drawn.ravel())[-2] < drawn.max() - 50


def test_panels_are_layers_by_heads_with_the_rollout_last(tmp_path):
    layers = [random_attention(2, 9), random_attention(2, 9)]
    figure = head_overlays(GREY, layers)
    save_figure(figure, tmp_path / "heads.png")
    grid = np.array(figure.axes).reshape(2, 4)
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["layer 1", "layer 2"]
    for row, weights in zip(grid, layers, strict=True):
        np.testing.assert_array_equal(row[0].get_images()[0].get_array(), GREY)
        for axes, head in zip(row[1:3], weights, strict=True):
            np.testing.assert_allclose(values(axes).ravel(), head.mean(0))
    np.testing.assert_allclose(values(grid[0, 3]).ravel(), rollout(layers[:1]).mean(0))
    np.testing.assert_allclose(values(grid[1, 3]).ravel(), rollout(layers).mean(0))
    titles = [axes.get_title().split(",")[0] for axes in grid[1]]
    assert titles == ["", "head 1", "head 2", "rollout to here"]


def test_a_title_tells_the_largest_share():
    figure = head_overlays(GREY, [all_look_at(3) * 0.75 + 0.25 / 9])
    assert figure.axes[1].get_title() == "head 1, most 78%"


def test_a_patch_that_asks_is_framed_and_its_row_is_shown():
    weights = random_attention(1, 9)
    figure = head_overlays(GREY, [weights], token=5)
    picture, head, _ = figure.axes
    np.testing.assert_allclose(values(head).ravel(), weights[0, 5])
    (frame,) = picture.patches
    assert frame.get_xy() == (32, 16)
    assert (frame.get_width(), frame.get_height()) == (16, 16)


def test_a_class_token_has_no_place_and_its_title_tells_what_patches_get():
    weights = random_attention(1, 10)
    figure = head_overlays(GREY, [weights], token=0)
    picture, head, _ = figure.axes
    np.testing.assert_allclose(values(head).ravel(), weights[0, 0, 1:])
    assert not picture.patches
    assert head.get_title() == f"head 1\n{weights[0, 0, 1:].sum():.0%} to patches"
    (frame,) = head_overlays(GREY, [weights], token=6).axes[0].patches
    assert frame.get_xy() == (32, 16)  # patch 5


@pytest.mark.parametrize("tokens", [3, 8, 12])
def test_tokens_that_are_no_square_are_an_error(tokens):
    with pytest.raises(ValueError, match=f"{tokens} tokens are neither"):
        head_overlays(GREY, [random_attention(1, tokens)])


def test_maps_are_laid_over_the_picture_in_greys_each_in_its_own_scale():
    red = np.zeros((48, 48, 3), np.uint8)
    red[..., 0] = 200
    strong, weak = np.eye(3), np.eye(3)[::-1] / 100
    figure = map_overlays(red, [("strong", strong), ("weak", weak)])
    picture, first, second = figure.axes
    np.testing.assert_array_equal(picture.get_images()[0].get_array(), red)
    assert [axes.get_title() for axes in figure.axes] == ["the picture", "strong", "weak"]
    below = np.asarray(first.get_images()[0].get_array())
    assert np.ptp(below, axis=2).max() == 0
    assert second.get_images()[1].get_clim() == (0, 0.01)
    assert brightness(figure, first)[0, 0] == pytest.approx(brightness(figure, second)[0, 2], abs=1)


@pytest.mark.parametrize("maps", [[], [("flat", np.ones(9))], [("long", np.ones((2, 3)))]])
def test_maps_that_are_not_square_are_an_error(maps):
    with pytest.raises(ValueError, match="square maps"):
        map_overlays(GREY, maps)


def test_named_pictures_stand_above_their_maps():
    images = np.stack([GREY, GREY // 2])
    maps = RNG.random((2, 3, 3))
    figure = named_overlays(images, maps, ["star", "ring ✗"])
    grid = np.array(figure.axes).reshape(2, 2)
    assert [axes.get_title() for axes in grid[0]] == ["star", "ring ✗"]
    for above, below, image, map_ in zip(*grid, images, maps, strict=True):
        np.testing.assert_array_equal(above.get_images()[0].get_array(), image)
        np.testing.assert_array_equal(values(below), map_)
    assert brightness(figure, grid[1, 0]).argmax() == maps[0].argmax()


def test_each_named_picture_has_a_map():
    with pytest.raises(ValueError, match="1 pictures, 2 maps and 1 names"):
        named_overlays(GREY[None], np.ones((2, 3, 3)), ["star"])


def test_occlusion_finds_the_patch_that_a_score_depends_on():
    image = GREY.copy()
    image[16:32, 32:48] = 255
    falls = occlusion(lambda x: x.max((1, 2, 3)).astype(float), image, 16)
    expected = np.zeros((3, 3))
    expected[1, 2] = 255 - 90  # painted with the median, the grey
    np.testing.assert_array_equal(falls, expected)
    np.testing.assert_array_equal(image[16:32, 32:48], 255)


def test_covering_what_is_in_the_way_helps():
    image = GREY.copy()
    image[:16, :16] = 200
    assert occlusion(lambda x: -x.mean((1, 2, 3)), image, 16)[0, 0] < 0


def test_patches_that_do_not_cover_the_picture_cannot_be_covered():
    with pytest.raises(ValueError, match="do not cover"):
        occlusion(lambda x: x.mean((1, 2, 3)), GREY, 7)

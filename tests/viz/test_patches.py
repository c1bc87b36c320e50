"""A picture in patches: each in its place, with its number; places that are alike are bright."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from minivlm.data.draw import make_scenes
from minivlm.data.image import pixels
from minivlm.ops.convolve import patches
from minivlm.tensor import Tensor
from minivlm.viz.patches import patch_grid, patches_of_things, position_similarity, shuffled
from minivlm.viz.style import save_figure

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (48, 48, 3), np.uint8)


def shown(axes):
    return np.asarray(axes.get_images()[0].get_array())


def test_the_grid_shows_the_picture_and_each_patch_with_its_number(tmp_path):
    figure = patch_grid(PICTURE, 16)
    save_figure(figure, tmp_path / "grid.png")
    whole, *cells = figure.axes
    np.testing.assert_array_equal(shown(whole), PICTURE)
    assert whole.get_title() == "48×48 pixels"
    assert list(whole.get_xticks()) == list(whole.get_yticks()) == [0, 16, 32, 48]
    assert [cell.texts[0].get_text() for cell in cells] == [str(n) for n in range(9)]
    np.testing.assert_array_equal(shown(cells[5]), PICTURE[16:32, 32:48])
    assert figure.subfigs[1].get_suptitle() == "9 tokens of 3·16·16 = 768 numbers"


def test_patches_are_numbered_as_the_model_reads_them():
    tokens = patches(Tensor(pixels(PICTURE[None])), 8).data[0]  # (36, 192)
    for number, cell in enumerate(patch_grid(PICTURE, 8).axes[1:]):
        np.testing.assert_array_equal(pixels(shown(cell)[None]).ravel(), tokens[number])


@pytest.mark.parametrize(("image", "side"), [(PICTURE, 7), (PICTURE[:, :40], 8), (PICTURE[0], 8)])
def test_patches_that_do_not_cover_the_picture_are_an_error(image, side):
    with pytest.raises(ValueError, match="do not cover"):
        patch_grid(image, side)


def test_shuffled_pictures_hold_the_same_patches_in_the_order_asked_for():
    pictures = RNG.integers(0, 256, (3, 48, 48, 3), np.uint8)
    order = RNG.permutation(36)
    tokens = patches(Tensor(pixels(pictures)), 8).data
    torn = patches(Tensor(pixels(shuffled(pictures, 8, order))), 8).data
    np.testing.assert_array_equal(torn, tokens[:, order])
    np.testing.assert_array_equal(shuffled(pictures, 8, np.arange(36)), pictures)


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 2, 2]])
def test_an_order_that_loses_a_patch_is_an_error(order):
    with pytest.raises(ValueError, match="no permutation of 4 patches"):
        shuffled(PICTURE[None], 24, np.array(order))


def test_places_with_like_positions_are_bright_in_each_other_s_maps(tmp_path):
    positions = RNG.standard_normal((9, 64))
    positions[7] = 2 * positions[2]  # top right and bottom: the same direction, another length
    positions[3] = -positions[2]
    figure = position_similarity(positions)
    save_figure(figure, tmp_path / "positions.png")
    maps = figure.axes[:9]
    assert shown(maps[2])[2, 1] == pytest.approx(1)
    assert shown(maps[2])[1, 0] == pytest.approx(-1)
    assert shown(maps[7])[0, 2] == pytest.approx(1)
    colors = maps[2].get_images()[0].to_rgba(shown(maps[2]))[..., :3].mean(-1)
    assert colors[2, 1] == colors.max()
    assert colors[1, 0] == colors.min()
    assert len({m.get_images()[0].get_clim() for m in maps}) == 1


def test_each_map_frames_its_own_place():
    for place, axes in enumerate(position_similarity(RNG.standard_normal((9, 4))).axes[:9]):
        row, column = divmod(place, 3)
        assert axes.patches[0].get_xy() == (column - 0.5, row - 0.5)
        assert to_hex(axes.patches[0].get_edgecolor()) == "#000000"  # on the brightest cell


@pytest.mark.parametrize("count", [0, 5, 37])
def test_positions_that_are_no_square_are_an_error(count):
    with pytest.raises(ValueError, match="no square"):
        position_similarity(np.ones((count, 4)))


def test_outside_the_patches_of_things_there_is_only_background():
    scenes, images = make_scenes(40, seed=5)
    for scene, image in zip(scenes, images, strict=True):
        reached = patches_of_things(scene, 6)
        squares = image.reshape(6, 8, 6, 8, 3).swapaxes(1, 2).reshape(6, 6, 64, 3)
        spread = squares.std(2).max(-1)  # noise alone has 5
        assert spread[~reached].max() < 8
        assert spread[reached].max() > 20
        assert reached.sum() <= 12 * len(scene.things)

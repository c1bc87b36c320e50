import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.data.draw import BACKGROUND_RGB, OUTLINES, RGB, draw, make_scenes
from minivlm.data.scenes import (
    BACKGROUNDS,
    BUDDIES,
    COLORS,
    HELD_OUT,
    SHAPES,
    Scene,
    Thing,
    sample_scene,
)

seeds = st.integers(0, 10**6)


def sample(seed, **options):
    return sample_scene(np.random.default_rng(seed), **options)


@given(seed=seeds, count=st.one_of(st.none(), st.integers(1, 9)), held_out=st.booleans())
def test_a_scene_is_in_reading_order_and_no_two_things_are_alike(seed, count, held_out):
    scene = sample(seed, count=count, held_out=held_out)
    cells = [thing.cell for thing in scene.things]
    kinds = [(thing.color, thing.shape) for thing in scene.things]
    assert cells == sorted(set(cells))
    assert len(set(kinds)) == len(kinds)
    assert len(kinds) == count or (count is None and 1 <= len(kinds) <= 4)
    assert sum(kind in HELD_OUT for kind in kinds) == held_out


def test_one_pair_is_held_out_for_each_colour_and_each_shape():
    colors, shapes = zip(*HELD_OUT, strict=True)
    assert sorted(colors) == sorted(COLORS)
    assert sorted(shapes) == sorted(SHAPES)


def test_shapes_keep_company():
    assert all(BUDDIES[BUDDIES[shape]] == shape != BUDDIES[shape] for shape in SHAPES)
    pairs = [sample(seed, count=2).things for seed in range(600)]
    together = np.mean([BUDDIES[a.shape] == b.shape for a, b in pairs])
    assert 0.35 < together < 0.65  # 0.4, and what chance adds


@pytest.mark.parametrize("count", [0, 10])
def test_a_count_that_does_not_fit_is_refused(count):
    with pytest.raises(ValueError, match=f"{count} things do not fit"):
        sample(0, count=count)


def test_scene_i_of_a_seed_does_not_depend_on_how_many_are_made():
    few, few_images = make_scenes(3, seed=5)
    many, many_images = make_scenes(7, seed=5)
    assert few == many[:3]
    assert np.array_equal(few_images, many_images[:3])
    assert make_scenes(3, seed=6)[0] != few


def test_whoever_waits_can_be_shown_how_far_it_is():
    seen = []
    make_scenes(4, seed=1, progress=lambda numbers: (seen.append(n) or n for n in numbers))
    assert seen == [0, 1, 2, 3]


def test_no_scenes_are_an_empty_array():
    scenes, images = make_scenes(0, seed=0)
    assert scenes == []
    assert images.shape == (0, 48, 48, 3)


@pytest.mark.parametrize("size", [48, 64, 96, 200, 384])
def test_a_picture_has_the_size_asked_for(size):
    picture = draw(sample(0), size, np.random.default_rng(0))
    assert (picture.shape, picture.dtype) == ((size, size, 3), np.uint8)


@pytest.mark.parametrize("size", [47, 385])
def test_another_size_is_refused(size):
    with pytest.raises(ValueError, match=f"image side {size} is not in 48..384"):
        draw(sample(0), size, np.random.default_rng(0))


def nearest(rgb, table):
    return min(table, key=lambda name: np.abs(np.asarray(table[name]) - rgb).sum())


def pictured(shape, color="red", background="black", texture="solid", size=96):
    thing = Thing(shape, color, "large", texture, cell=4, x=0.5, y=0.5, radius=0.155)
    return draw(Scene((thing,), background), size, np.random.default_rng(0)).astype(float)


@pytest.mark.parametrize("color", COLORS)
def test_a_thing_has_its_colour(color):
    middle = pictured("square", color)[44:52, 44:52].mean((0, 1))
    assert nearest(middle, RGB) == color


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_scene_has_its_background(background):
    corners = pictured("circle", background=background)[[4, 4, -5, -5], [4, -5, 4, -5]].mean(0)
    assert nearest(corners, BACKGROUND_RGB) == background


def test_a_ring_has_a_hole_and_a_disc_has_none():
    assert pictured("ring")[46:50, 46:50].mean() < 40
    assert pictured("circle")[46:50, 46:50, 0].mean() > 150


def test_stripes_are_light_and_dark():
    red = {t: pictured("square", texture=t)[38:58, 38:58, 0] for t in ("solid", "striped")}
    assert red["solid"].min() > 150
    assert red["striped"].min() < 110 < 170 < red["striped"].max()


def test_shapes_differ_from_each_other():
    assert set(OUTLINES) == set(SHAPES)
    masks = {shape: pictured(shape)[..., 0] > 120 for shape in SHAPES}
    for a in SHAPES:
        for b in SHAPES:
            if a < b:
                assert (masks[a] != masks[b]).sum() > 0.08 * (masks[a] | masks[b]).sum(), (a, b)


@given(seed=seeds)
def test_things_stay_inside_the_picture(seed):
    for thing in sample(seed, count=9).things:
        assert thing.radius * 0.9 < min(thing.x, thing.y, 1 - thing.x, 1 - thing.y)

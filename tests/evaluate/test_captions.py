import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.data.phrases import describe
from minivlm.data.scenes import Scene, Thing, sample_scene
from minivlm.evaluate.captions import Mention, mentions, score_captions


def thing(shape, color, cell):
    return Thing(shape, color, "small", "solid", cell, 0.5, 0.5, 0.1)


SCENE = Scene((thing("star", "red", 0), thing("ring", "blue", 5)), "navy")


def scores(caption):
    return score_captions([caption], [SCENE])


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_the_canonical_description_is_perfect(seed, count):
    scene = sample_scene(np.random.default_rng(seed), count)
    found = score_captions([describe(scene)], [scene])
    assert (found.exact, found.chair, found.recall, found.position) == (1, 0, 1, 1)
    assert (found.background, found.number, found.count) == (1, 1, 1)


def test_things_are_found_in_words():
    said = mentions("two objects: a small striped red star at the top left and an orange circle")
    assert said == [Mention("star", "red", "top left"), Mention("circle", "orange", None)]
    assert mentions("a ring at the top of a starry background") == [Mention("ring", None, "top")]
    assert mentions("nothing at all") == []


def test_what_is_made_up_counts_and_what_is_forgotten_too():
    invented = scores("a small red star at the top left and a small pink heart at the right")
    assert (invented.chair, invented.recall, invented.number, invented.exact) == (0.5, 0.5, 1, 0)
    misplaced = scores("a red star at the bottom and a blue ring at the right")
    assert (misplaced.chair, misplaced.recall, misplaced.position) == (0, 1, 0.5)
    silent = scores("")
    assert (silent.chair, silent.recall, silent.position, silent.background) == (0, 0, 0, 0)


def test_swapped_colours_are_made_up_things():
    swapped = scores("a blue star at the top left and a red ring at the right on a navy background")
    assert (swapped.chair, swapped.recall, swapped.background) == (1, 0, 1)


def test_repeating_one_thing_fools_chair_but_not_recall_and_number():
    again = scores("a red star and a red star and a red star")
    assert (again.chair, again.recall, again.number) == (0, 0.5, 0)


def test_captions_and_scenes_must_match_in_number():
    with pytest.raises(ValueError, match="1 captions cannot be of 0 scenes"):
        score_captions(["a"], [])

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.data.phrases import (
    NUMBERS,
    OPPOSITE,
    caption,
    describe,
    full_caption,
    listed,
    name_of,
    relations,
    with_article,
)
from minivlm.data.questions import KINDS, ask, plural
from minivlm.data.scenes import BACKGROUNDS, COLORS, HELD_OUT, PLACES, SHAPES, Thing, sample_scene

seeds = st.integers(0, 10**6)
NAME = re.compile(
    rf"\b(an?) (?:(small|large) )?(?:(striped) )?({'|'.join(COLORS)}) ({'|'.join(SHAPES)})\b"
    rf"(?: at the ({'|'.join(sorted(PLACES, key=len, reverse=True))})\b)?"
)


def thing(**changes):
    given = {
        "shape": "star",
        "color": "red",
        "size": "small",
        "texture": "striped",
        "cell": 0,
        "x": 0.2,
        "y": 0.2,
        "radius": 0.1,
    }
    return Thing(**given | changes)


def test_a_name_says_what_is_asked_for():
    assert name_of(thing(), place=True) == "a small striped red star at the top left"
    assert name_of(thing(texture="solid")) == "a small red star"
    assert name_of(thing(color="orange"), size=False, texture=False) == "an orange star"


@pytest.mark.parametrize("words", ["orange star", "image", "red star"])
def test_the_article_fits_the_next_word(words):
    assert with_article(words) == ("a " if words[0] == "r" else "an ") + words


def test_a_list_has_commas_and_an_and():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_relations_are_those_of_the_cells():
    assert relations(thing(cell=0), thing(cell=2)) == ["to the left of"]
    assert relations(thing(cell=8), thing(cell=0)) == ["to the right of", "below"]
    for a in range(9):
        for b in range(9):
            there, back = (relations(thing(cell=i), thing(cell=j)) for i, j in ((a, b), (b, a)))
            assert [OPPOSITE[words] for words in there] == back
            assert bool(there) == (a != b)


@given(seed=seeds, count=st.integers(1, 9))
def test_a_caption_says_nothing_that_is_not_there(seed, count):
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng, count)
    words = caption(scene, rng)
    told = NAME.findall(words)
    assert len(told) == count
    for article, size, striped, color, shape, place in told:
        (one,) = [t for t in scene.things if (t.color, t.shape) == (color, shape)]
        assert size in ("", one.size)
        assert not striped or one.texture == "striped"
        assert place in ("", one.place)
        assert (article == "an") == (not size and not striped and color == "orange")
    for background in BACKGROUNDS:
        assert f"{background} background" not in words or background == scene.background
    for number, word in enumerate(NUMBERS):
        assert f"{word} objects" not in words or number == count
    if match := re.search(r"(to the left of|to the right of|above|below)", words):
        a, b = (next(t for t in scene.things if (t.color, t.shape) == n[3:5]) for n in told)
        assert match[1] in relations(a, b)


@given(seed=seeds)
def test_a_description_tells_everything(seed):
    scene = sample_scene(np.random.default_rng(seed))
    told = NAME.findall(describe(scene))
    assert [n[5] for n in told] == [t.place for t in scene.things]
    assert [(n[1], n[2], n[3], n[4]) for n in told] == [
        (t.size, "striped" * (t.texture == "striped"), t.color, t.shape) for t in scene.things
    ]
    assert describe(scene).endswith(f"on a {scene.background} background")


def test_a_full_caption_tells_places_of_two_things_at_most():
    for count in (1, 2, 3):
        scene = sample_scene(np.random.default_rng(0), count)
        assert ("at the" in full_caption(scene)) == (count <= 2)


def test_captions_vary_and_never_tell_a_held_out_pair():
    rng = np.random.default_rng(0)
    scene = sample_scene(rng, 2)
    assert len({caption(scene, rng) for _ in range(60)}) > 25
    for _ in range(300):
        told = NAME.findall(caption(sample_scene(rng), rng))
        assert not {(n[3], n[4]) for n in told} & HELD_OUT


# Questions: each answer is worked out again from the scene, by the words of the question.


def answer_to(kind, text, scene):
    words = text.rstrip("?.").split()
    colors = [w for w in words if w in COLORS]
    shapes = [s for w in words for s in SHAPES if w in (s, plural(s))]
    matching = [
        t
        for t in scene.things
        if (not colors or t.color == colors[0]) and (not shapes or t.shape == shapes[0])
    ]
    if kind == "count":
        return NUMBERS[len(matching)]
    if kind == "exist":
        return "yes" if matching else "no"
    if kind == "background":
        return scene.background
    if kind == "describe":
        return describe(scene)
    if kind == "what_at":
        place = text.removeprefix("what is at the ").rstrip("?")
        (one,) = [t for t in scene.things if t.place == place]
        return name_of(one, size=False, texture=False)
    if kind == "relation":
        a, b = (
            next(t for t in scene.things if (t.color, t.shape) == kind)
            for kind in zip(colors, shapes, strict=True)
        )
        return "yes" if any(how in text for how in relations(a, b)) else "no"
    (one,) = matching  # the question must single one thing out
    return one.place if kind == "where" else getattr(one, kind)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds, count=st.integers(1, 9))
def test_answers_are_true(kind, seed, count):
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng, count)
    question = ask(scene, kind, rng)
    if question is None:
        assert kind in ("relation", "color", "shape", "exist")
        assert kind != "relation" or count == 1
        return
    assert question.kind == kind
    assert question.text[-1] in "?."
    assert question.answer == answer_to(kind, question.text, scene)


@pytest.mark.parametrize("kind", ["exist", "relation"])
def test_yes_and_no_are_equally_frequent(kind):
    rng = np.random.default_rng(0)
    answers = [ask(sample_scene(rng, 2), kind, rng).answer for _ in range(2000)]
    assert 0.46 < np.mean([answer == "yes" for answer in answers]) < 0.54


def test_a_no_is_often_nearly_right():
    rng = np.random.default_rng(0)
    near = []
    while len(near) < 400:
        scene = sample_scene(rng, 2)
        question = ask(scene, "exist", rng)
        told = NAME.findall(question.text)
        if question.answer == "no" and told:
            _, _, _, color, shape, _ = told[0]
            near.append(any(t.color == color or t.shape == shape for t in scene.things))
    assert np.mean(near) > 0.5


def test_an_unknown_kind_is_an_error():
    with pytest.raises(KeyError):
        ask(sample_scene(np.random.default_rng(0)), "smell", np.random.default_rng(0))

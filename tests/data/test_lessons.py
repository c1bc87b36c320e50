from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.data.chat import ASSISTANT, USER
from minivlm.data.lessons import (
    PROMPT,
    WEIGHTS,
    about_picture,
    captioning,
    instruction,
    questions,
    reading,
)
from minivlm.data.phrases import describe
from minivlm.data.questions import KINDS, ask
from minivlm.data.scenes import COLORS, HELD_OUT, SHAPES, sample_scene

seeds = st.integers(0, 10**6)
things = st.integers(1, 4)


def scene_and_rng(seed, things):
    rng = np.random.default_rng(seed)
    return sample_scene(rng, things), rng


def roles(conversation):
    return [turn.role for turn in conversation.turns]


def texts(conversation):
    return [turn.text for turn in conversation.turns]


@given(seed=seeds, things=things, count=st.integers(1, 6))
def test_questions_are_as_many_as_asked_for_and_a_description_comes_last(seed, things, count):
    scene, rng = scene_and_rng(seed, things)
    asked = questions(scene, count, rng)
    assert len(asked) == count
    assert all(question.kind != "describe" for question in asked[:-1])


def test_kinds_are_asked_as_often_as_their_weights_say():
    rng = np.random.default_rng(4)
    scene = sample_scene(rng, 2)
    assert all(ask(scene, kind, rng) for kind in KINDS)
    asked = Counter(questions(scene, 1, rng)[0].kind for _ in range(4000))
    for kind in KINDS:
        share = WEIGHTS[kind] / sum(WEIGHTS.values())
        assert asked[kind] / 4000 == pytest.approx(share, abs=0.02), kind


@given(seed=seeds, things=things)
def test_reading_tells_first_and_asks_afterwards_and_never_for_what_it_told(seed, things):
    scene, rng = scene_and_rng(seed, things)
    lesson = reading(scene, rng)
    told = describe(scene)
    assert lesson.images == ()
    assert not any(turn.pictures for turn in lesson.turns)
    assert roles(lesson) == [USER, ASSISTANT] * (len(lesson.turns) // 2)
    assert lesson.turns[-1].text != told
    if len(lesson.turns) == 4:
        assert texts(lesson)[:2] == [PROMPT, told]
    else:
        first, answer = texts(lesson)
        assert first.startswith(f"{told}\n")
        assert first != f"{told}\n"
        assert answer


def test_a_quarter_of_the_readings_ask_for_the_description():
    rng = np.random.default_rng(0)
    asked = [len(reading(sample_scene(rng), rng).turns) == 4 for _ in range(2000)]
    assert np.mean(asked) == pytest.approx(0.25, abs=0.03)


@given(seed=seeds, things=things)
def test_captioning_is_a_picture_without_a_word_and_its_description(seed, things):
    scene, _ = scene_and_rng(seed, things)
    lesson = captioning(scene)
    assert lesson.turns[0] == about_picture("")
    assert texts(lesson)[1:] == [describe(scene)]
    assert len(lesson.images) == 1


@given(seed=seeds, things=things, count=st.integers(1, 6))
def test_instruction_shows_the_picture_once_before_the_first_question(seed, things, count):
    scene, rng = scene_and_rng(seed, things)
    lesson = instruction(scene, count, rng)
    assert roles(lesson) == [USER, ASSISTANT] * count
    assert [turn.pictures for turn in lesson.turns] == [(0,)] + [()] * (2 * count - 1)
    assert len(lesson.images) == 1
    assert texts(lesson)[0].startswith("\n")
    assert describe(scene) not in texts(lesson)[:-1]


def test_a_turn_about_a_picture_has_it_before_its_words():
    assert about_picture("what?").parts() == ["", "\nwhat?"]


@given(seed=seeds, things=things)
def test_no_lesson_ever_names_a_held_out_pair(seed, things):
    scene, rng = scene_and_rng(seed, things)
    lessons = [reading(scene, rng), captioning(scene), instruction(scene, 12, rng)]
    said = " ".join(text for lesson in lessons for text in texts(lesson))
    named = {(c, s) for c in COLORS for s in SHAPES if f"{c} {s}" in said}
    assert named
    assert not named & HELD_OUT


def test_what_is_said_not_to_be_there_is_never_a_held_out_pair():
    """A model that was told "no" each time could not find one where it is."""
    rng = np.random.default_rng(0)
    denied = Counter()
    for _ in range(4000):
        question = ask(sample_scene(rng), "exist", rng)
        if question and question.answer == "no":
            denied[tuple(question.text.rstrip("?").split()[-2:])] += 1
    pairs = {pair for pair in denied if pair[0] in COLORS}
    assert pairs == {(color, shape) for color in COLORS for shape in SHAPES} - HELD_OUT

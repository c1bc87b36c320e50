"""What each step of a talking model's training shows it, and what it never shows."""

from dataclasses import replace

import numpy as np
import pytest

from minivlm.data.chat import IMAGE
from minivlm.data.lessons import PROMPT, captioning
from minivlm.data.phrases import describe
from minivlm.data.scenes import COLORS, HELD_OUT, SHAPES
from minivlm.errors import InputError
from minivlm.recipes.lessons import CHATS, CHATS_FROM, SHOWN, open_lessons, shown_scenes
from minivlm.recipes.scenes_task import training_scenes
from minivlm.recipes.vlm_settings import VlmSettings
from tests.recipes.small import SMALL_VLM
from tests.recipes.talks import TONES, about_color, colored, picture, sample, written

SIDE = 48
SCENES = VlmSettings("scenes", clip="nowhere", **SMALL_VLM)


def said(talks):
    return [turn.text for talk in talks for turn in talk.conversation.turns]


def pictures_of(talks):
    return [talk.pictures for talk in talks]


def pictured(images):
    """Pictures as something that sets can hold."""
    return {image.tobytes() for image in images}


# Scenes.


@pytest.fixture(scope="module")
def scenes():
    return open_lessons(SCENES, SIDE)


@pytest.mark.parametrize("things", [1, 2, 4])
def test_scenes_have_no_more_things_than_asked_for(things):
    lessons = open_lessons(replace(SCENES, things=things), SIDE)
    assert {len(scene.things) for scene in lessons.scenes} == set(range(1, things + 1))
    everything, images = training_scenes(SCENES.examples, SCENES.seed, SIDE)
    for scene, image in zip(lessons.scenes, lessons.images, strict=True):
        assert np.array_equal(image, images[everything.index(scene)])
    few, shown = shown_scenes(things, SIDE)
    assert all(len(scene.things) == things for scene in few)
    assert np.array_equal(lessons.shown, shown)


def test_pictures_that_are_shown_are_not_learnt_from(scenes):
    assert len(pictured(scenes.shown)) == SHOWN
    assert not pictured(scenes.shown) & pictured(scenes.images)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_step_has_the_same_conversations_whenever_it_is_asked_for(scenes, stage):
    batches = [scenes.batch(stage, step) for step in (0, 1, 2)]
    again = open_lessons(SCENES, SIDE)
    assert [again.batch(stage, step) for step in (2, 1, 0)] == batches[::-1]
    assert all(len(batch) == SCENES.batch for batch in batches)
    assert batches[0] != batches[1] != batches[2]
    assert pictures_of(scenes.batch(1, 0)) != pictures_of(scenes.batch(2, 0))
    other = open_lessons(replace(SCENES, seed=1), SIDE)
    assert other.batch(stage, 0) != batches[0]


def test_texts_for_the_tokenizer_are_the_same_each_time_and_say_every_word(scenes):
    texts = scenes.texts()
    assert texts == open_lessons(SCENES, SIDE).texts()
    words = set(" ".join(texts).replace("?", " ").replace(",", " ").split())
    assert {*COLORS, *SHAPES, "yes", "no", "solid", "zero"} <= words
    assert PROMPT in {text.strip() for text in texts}


def test_stage_0_has_no_pictures_and_later_talks_are_about_their_own(scenes):
    for talk in scenes.batch(0, 0):
        assert talk.pictures == talk.conversation.images == ()
    for talk in scenes.batch(1, 0):
        (row,) = talk.pictures
        assert talk.conversation == captioning(scenes.scenes[row])
    talks = [talk for step in range(40) for talk in scenes.batch(2, step)]
    told = {(*talk.pictures, text) for talk in talks for text in said([talk]) if " on a " in text}
    assert len(told) > 5
    assert told == {(row, describe(scenes.scenes[row])) for row, _ in told}


def test_several_questions_are_asked_only_late_and_for_a_description_last():
    lessons = open_lessons(replace(SCENES, instruction_steps=40, batch=30, turns=3), SIDE)
    batches = [[said([talk]) for talk in lessons.batch(2, step)] for step in range(40)]
    first = int(CHATS_FROM * 40)
    assert {len(texts) for batch in batches[:first] for texts in batch} == {2}
    late = [texts for batch in batches[first:] for texts in batch]
    chats = [texts for texts in late if len(texts) == 6]
    assert {len(texts) for texts in late} == {2, 6}
    assert len(chats) / len(late) == pytest.approx(CHATS, abs=0.08)
    described = [[" on a " in answer for answer in texts[1::2]] for texts in chats]
    assert sorted({tuple(each) for each in described}) == [(False,) * 3, (False, False, True)]


def test_no_text_of_any_stage_names_a_held_out_pair(scenes):
    talks = [talk for stage in range(3) for step in range(60) for talk in scenes.batch(stage, step)]
    everything = "\n".join([*scenes.texts(), *said(talks)])
    named = {(c, s) for c in COLORS for s in SHAPES if f"{c} {s}" in everything}
    assert len(named) > 50  # of 56
    assert not named & HELD_OUT


# Files.


def of_file(path, **changes):
    return open_lessons(replace(SCENES, data=str(path), **changes), SIDE)


def test_one_conversation_in_ten_is_kept_for_measuring(tmp_path):
    lessons = of_file(colored(tmp_path, 24))
    everything = [*lessons.talks, *lessons.held_out]
    assert pictures_of(lessons.held_out) == [(9,), (19,)]
    assert sorted(talk.pictures[0] for talk in everything) == list(range(24))
    batches = [
        talk for stage in (1, 2) for step in range(60) for talk in lessons.batch(stage, step)
    ]
    assert {talk.pictures[0] for talk in batches} == set(range(24)) - {9, 19}
    assert len(lessons.texts()) == 22 * 4
    assert np.array_equal(lessons.shown, lessons.images[[9, 19]])


def test_a_picture_that_is_also_learnt_from_is_not_shown(tmp_path):
    colored(tmp_path)
    talks = [about_color(i, "red") for i in range(9)]  # the next one is held out, and then again
    talks += [about_color(3, "red"), *talks, about_color(20, "blue"), about_color(0, "red")]
    lessons = of_file(written(tmp_path, talks))
    assert pictures_of(lessons.held_out) == [(3,), (9,)]
    assert np.array_equal(lessons.shown, lessons.images[[9]])


def test_with_fewer_than_ten_all_are_learnt_and_shown(tmp_path):
    lessons = of_file(colored(tmp_path, 8))
    assert lessons.held_out == []
    assert np.array_equal(lessons.shown, lessons.images[:SHOWN])


def test_a_conversation_may_be_about_several_pictures_or_none(tmp_path):
    colored(tmp_path)
    several = sample(
        f"{IMAGE} or {IMAGE}?", "red", f"{IMAGE}?", "blue", image=["4.png", "0.png", "4.png"]
    )
    lessons = of_file(written(tmp_path, [several, sample("hello", "hi"), about_color(4, "green")]))
    assert pictures_of(lessons.talks) == [(0, 1, 0), (), (0,)]
    green, red = (
        np.broadcast_to(np.uint8(TONES[tone]), (SIDE, SIDE, 3)) for tone in ("green", "red")
    )
    assert np.array_equal(lessons.images, [green, red])  # each is opened once
    with_pictures = {t.pictures for step in range(30) for t in lessons.batch(1, step)}
    everything = {t.pictures for step in range(30) for t in lessons.batch(2, step)}
    assert with_pictures == {(0, 1, 0), (0,)}
    assert everything == with_pictures | {()}


def test_stage_0_reads_the_words_without_the_pictures(tmp_path):
    lessons = of_file(colored(tmp_path))
    for talk in lessons.batch(0, 0):
        assert talk.pictures == talk.conversation.images == ()
        assert not any(turn.pictures for turn in talk.conversation.turns)
        assert said([talk])[0] == "\nwhat color is it?"
    assert said(lessons.batch(0, 5)) == said(lessons.batch(0, 5)) != said(lessons.batch(0, 6))


def test_pictures_may_be_in_another_folder_and_are_found_however_they_are_written(tmp_path):
    picture(tmp_path / "far" / "deep", "cat.png", TONES["red"], side=60)
    names = ["deep/cat.png", "./deep/cat.png", "deep/../deep/cat.png"]
    path = written(tmp_path / "near", [sample(f"{IMAGE}?", "red", image=name) for name in names])
    lessons = of_file(path, images=str(tmp_path / "far"))
    assert pictures_of(lessons.talks) == [(0,)] * 3
    assert lessons.images.shape == (1, SIDE, SIDE, 3)


BAD = {
    "one place and no picture": (sample(f"{IMAGE}?", "x"), "1 <image> in the text, 0 pictures"),
    "a picture and no place": (
        sample("?", "x", image="0.png"),
        "0 <image> in the text, 1 pictures",
    ),
    "a place too few": (
        sample(f"{IMAGE}?", "x", image=["0.png", "1.png"]),
        "1 <image> in the text, 2 pictures",
    ),
    "no answer": (sample(f"{IMAGE}?", image="0.png"), "nothing to learn, no turn is by gpt"),
    "another folder": (sample(f"{IMAGE}?", "x", image="../x.png"), "leads out of the folder"),
    "no such file": (sample(f"{IMAGE}?", "x", image="x.png"), 'no file "x.png" in the folder'),
    "no picture": (sample(f"{IMAGE}?", "x", image="talks.json"), "talks.json: not a JPEG, PNG"),
    "no sample": (3, "a sample is not an object"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_conversation_is_refused_with_its_line_or_left_out(tmp_path, name):
    bad, sentence = BAD[name]
    colored(tmp_path)
    path = written(tmp_path, [about_color(0, "red"), bad, about_color(2, "blue")])
    with pytest.raises(InputError, match=rf"talks\.json, line \d+: .*{sentence}"):
        of_file(path)
    lessons = of_file(path, skip_bad=True)
    assert [said([t])[1] for t in lessons.talks] == ["red", "blue"]
    (note,) = lessons.notes
    assert note.startswith("left out: ")
    assert sentence in note


@pytest.mark.parametrize(
    ("talks", "sentence"),
    [
        ([], "no conversation is about a picture"),
        ([sample("hello", "hi")] * 3, "no conversation is about a picture"),
        ([sample("hello", "hi")] * 9 + [about_color(0, "red")], "9 conversations are too few"),
    ],
)
def test_too_few_conversations_are_refused(tmp_path, talks, sentence):
    colored(tmp_path)
    with pytest.raises(InputError, match=f"talks.json: {sentence}"):
        of_file(written(tmp_path, talks))


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        of_file(tmp_path / "none.json")
    path = tmp_path / "talks.json"
    path.write_text("[{]")
    with pytest.raises(InputError, match=r"talks\.json, line 1: not JSON"):
        of_file(path)

"""Measuring is measured: on models whose answers are known, every figure is known, too."""

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from minivlm.data.chat import training_sample
from minivlm.data.lessons import captioning, instruction
from minivlm.data.questions import KINDS
from minivlm.data.scenes import HELD_OUT, SHAPES
from minivlm.errors import InputError
from minivlm.evaluate.pope import SETTINGS, Habits
from minivlm.recipes.lessons import Talk, open_lessons
from minivlm.recipes.measure_vlm import (
    Asked,
    accuracies,
    answer_perplexity,
    fresh_scenes,
    measure_conversations,
    measure_vlm,
    poll,
    put_questions,
)
from minivlm.recipes.scenes_task import training_scenes
from minivlm.tensor import Tensor, no_grad
from tests.recipes.scripted import Reciting, Scripted, truth
from tests.recipes.small import untrained_vlm
from tests.recipes.talks import colored, sample, written

SEED, COUNT = 7, 6
ASKED_KINDS = [kind for kind in KINDS if kind != "describe"]


def with_script(script):
    """A model with a script that knows the scenes of one and of two things, and their pictures."""
    vlm = Scripted(script)
    for seed, held_out in ((SEED, False), (SEED + 50, True)):
        vlm.meet(*fresh_scenes(vlm, 2, COUNT, seed, held_out))
    return vlm


def measured(script):
    return measure_vlm(with_script(script), 2, COUNT, SEED)


def pairs(scene):
    return {(thing.color, thing.shape) for thing in scene.things}


# Scripts.


def test_a_model_that_knows_everything_is_right_everywhere():
    found = measured(truth)
    assert all(asked.right for asked in (*found.asked, *found.unseen))
    for table in (accuracies(found.asked), accuracies(found.unseen)):
        assert set(table) == {*ASKED_KINDS, "mean"}
        assert {share for row in table.values() for share in row.values()} == {1.0}
    c = found.captions
    assert (c.exact, c.recall, c.position, c.background, c.number) == (1, 1, 1, 1, 1)
    assert (c.chair, c.count) == (0, 2 * COUNT)
    for h in found.hallucination:
        assert (h.accuracy, h.precision, h.recall, h.f1, h.yes_rate) == (1, 1, 1, 1, 0.5)


def test_without_its_picture_it_knows_nothing():
    found = measured(truth)
    assert not any(asked.right_blind for asked in (*found.asked, *found.unseen))
    assert {s for row in accuracies(found.asked, blind=True).values() for s in row.values()} == {0}
    assert (found.blind_captions.exact, found.blind_captions.recall) == (0, 0)
    assert found.blind_captions.count == 2 * COUNT


def test_a_model_that_always_says_yes_is_found_out():
    found = measured(lambda scene, question: "yes")
    for h in found.hallucination:
        assert (h.accuracy, h.precision, h.recall, h.yes_rate) == (0.5, 0.5, 1, 1)
    table = accuracies(found.asked)
    assert table == accuracies(found.asked, blind=True)
    for kind in set(ASKED_KINDS) - {"exist", "relation"}:
        assert table[kind]["all"] == 0
    for kind in ("exist", "relation"):
        said = [asked.reference == "yes" for asked in found.asked if asked.kind == kind]
        assert table[kind]["all"] == pytest.approx(np.mean(said))
    assert found.captions.exact == found.captions.recall == 0


def test_a_model_that_says_what_is_frequent_fails_where_pope_asks_for_it():
    vlm = with_script(lambda scene, question: "yes")
    training, _ = training_scenes(vlm.settings.examples, vlm.settings.seed, 48)
    habits = Habits.of([{thing.shape for thing in scene.things} for scene in training], SHAPES)
    frequent = {SHAPES[i] for i in np.argsort(-habits.frequency)[:2]}
    vlm.script = lambda scene, question: "yes" if set(question.split()) & frequent else "no"
    scenes, images = fresh_scenes(vlm, 2, COUNT, SEED)
    by_setting = {h.setting: h for h in poll(vlm, scenes, vlm.look(images), SEED)}
    assert list(by_setting) == list(SETTINGS)
    assert by_setting["popular"].accuracy < by_setting["random"].accuracy - 0.2
    assert by_setting["popular"].recall == by_setting["random"].recall


def test_figures_become_json_and_back():
    found = measured(truth)
    value = json.loads(json.dumps(found.to_json()))
    assert value["vqa"] == accuracies(found.asked)
    assert value["vqa_unseen_pairs"] == accuracies(found.unseen)
    assert value["vqa_without_picture"] == accuracies(found.asked, blind=True)
    assert value["captions"]["exact"] == 1
    assert value["captions_without_picture"]["exact"] == 0
    assert [h["setting"] for h in value["pope"]] == list(SETTINGS)
    assert value["perplexity"] == found.perplexity
    assert value["test_seed"] == SEED


# Scenes and questions.


@pytest.mark.parametrize("held_out", [False, True])
def test_fresh_scenes_are_so_many_of_each_number_and_unlike_training(held_out):
    vlm = untrained_vlm()
    scenes, images = fresh_scenes(vlm, 3, 5, SEED, held_out)
    assert Counter(len(scene.things) for scene in scenes) == {1: 5, 2: 5, 3: 5}
    assert images.shape == (15, 48, 48, 3)
    assert all(bool(pairs(scene) & HELD_OUT) is held_out for scene in scenes)
    again, same = fresh_scenes(vlm, 3, 5, SEED, held_out)
    assert again == scenes
    assert np.array_equal(same, images)
    assert fresh_scenes(vlm, 3, 5, SEED + 1, held_out)[0] != scenes


def test_each_scene_is_asked_every_kind_of_question_that_it_allows():
    vlm = with_script(truth)
    scenes, images = fresh_scenes(vlm, 2, COUNT, SEED)
    asked = put_questions(vlm, scenes, vlm.look(images), SEED)
    by_scene = [[a for a in asked if a.picture == i] for i in range(len(scenes))]
    for scene, questions in zip(scenes, by_scene, strict=True):
        kinds = [a.kind for a in questions]
        assert len(set(kinds)) == len(kinds)
        assert ("relation" in kinds) is (len(scene.things) == 2)
        assert {"count", "exist", "where", "size", "texture", "background", "what_at"} <= {*kinds}
        assert "describe" not in kinds
        for a in questions:
            assert a.things == len(scene.things)
            assert a.reference == a.answer == truth(scene, a.question)
    assert put_questions(vlm, scenes, vlm.look(images), SEED) == asked
    other = put_questions(vlm, scenes, vlm.look(images), SEED + 1)
    assert [a.question for a in other] != [a.question for a in asked]


def test_a_question_is_put_beside_its_own_picture():
    vlm = with_script(lambda scene, question: "nothing" if scene is None else repr(scene))
    scenes, images = fresh_scenes(vlm, 2, COUNT, SEED)
    asked = put_questions(vlm, scenes, vlm.look(images), SEED)
    assert [a.answer for a in asked] == [repr(scenes[a.picture]) for a in asked]
    assert {a.blind for a in asked} == {"nothing"}


def asked(kind, things, answer, blind="no"):
    """A question whose right answer is yes."""
    return Asked(0, kind, things, "?", "yes", answer, blind)


def test_accuracies_by_hand():
    table = accuracies(
        [
            asked("exist", 1, "yes", "yes"),
            asked("exist", 1, " yes. "),
            asked("exist", 2, "no", "yes"),
            asked("exist", 2, "yes"),
            asked("relation", 2, "no"),
            asked("relation", 2, "yes"),
            asked("color", 1, "Yes"),
        ]
    )
    assert table == {
        "exist": {"all": 0.75, "1": 1.0, "2": 0.5},
        "relation": {"all": 0.5, "2": 0.5},
        "color": {"all": 0.0, "1": 0.0},
        "mean": {"all": pytest.approx(1.25 / 3), "1": 0.5, "2": 0.5},  # each kind counts once
    }
    blind = accuracies([asked("exist", 1, "no", "yes"), asked("exist", 1, "yes", "no")], blind=True)
    assert blind == {"exist": {"all": 0.5, "1": 0.5}, "mean": {"all": 0.5, "1": 0.5}}


@pytest.mark.parametrize(("answer", "share"), [("yes", 1), ("no", 0)])
def test_as_many_questions_of_pope_are_to_be_answered_yes_as_no(answer, share):
    vlm = with_script(lambda scene, question: answer)
    scenes, images = fresh_scenes(vlm, 2, COUNT, SEED)
    found = poll(vlm, scenes, vlm.look(images), SEED)
    assert [h.setting for h in found] == list(SETTINGS)
    for h in found:
        assert (h.yes_rate, h.accuracy, h.recall) == (share, 0.5, share)
        there = sum(len({thing.shape for thing in scene.things}) for scene in scenes)
        assert h.count == 2 * there


# Perplexity.


@pytest.fixture(scope="module")
def talks():
    """A model, conversations about five scenes, and what it saw of them."""
    vlm = untrained_vlm(context=700)
    scenes, images = fresh_scenes(vlm, 1, 5, SEED)
    rng = np.random.default_rng(0)
    about = [Talk(instruction(s, 1 + i % 3, rng), (i,)) for i, s in enumerate(scenes)]
    about.append(Talk(captioning(scenes[2]), (2,)))
    return vlm, about, vlm.look(images)


def nats_of(vlm, talk, features):
    """Of each token that is learnt, from the logits of the conversation by itself."""
    c = vlm.model.config
    sample = training_sample(
        talk.conversation, vlm.template, vlm.tokenizer.encode, c.image_token, c.image_tokens, 700
    )
    with no_grad():
        logits = vlm.model.read(sample.ids[None], Tensor(features[list(talk.pictures)])).data[0]
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    return [-math.log(p[t - 1, sample.ids[t]]) for t in np.flatnonzero(sample.learnt)]


def test_perplexity_is_the_exponential_of_mean_nats_a_learnt_token(talks):
    vlm, about, features = talks
    each = [nats_of(vlm, talk, features) for talk in about]
    assert len({len(nats) for nats in each}) > 2  # long answers count for more
    expected = math.exp(np.mean([nat for nats in each for nat in nats]))
    assert answer_perplexity(vlm, about, features) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("at_once", [1, 4, 6])
@pytest.mark.parametrize("threads", [1, 3])
def test_perplexity_does_not_depend_on_how_many_are_read_at_once(talks, at_once, threads):
    vlm, about, features = talks
    other = replace(vlm, settings=replace(vlm.settings, threads=threads))
    whole = answer_perplexity(vlm, about, features)
    assert answer_perplexity(other, about, features, at_once) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("choices", [1, 2, 10])
def test_perplexity_is_a_number_of_choices_and_1_is_certainty(talks, monkeypatch, choices):
    vlm, about, features = talks
    nats = Tensor(np.float32(math.log(choices)))
    monkeypatch.setattr(vlm.model, "loss", lambda ids, labels, seen: nats)
    assert answer_perplexity(vlm, about, features) == pytest.approx(choices, rel=1e-6)


def test_a_model_that_has_no_idea_hesitates_between_all_tokens(talks):
    _, about, features = talks
    vlm = untrained_vlm(context=700)
    vlm.model.decoder.tokens.weight.data[:] = 0
    assert answer_perplexity(vlm, about, features) == pytest.approx(
        vlm.tokenizer.vocab_size, rel=1e-5
    )


# A user's own conversations.


def lessons_of(vlm, path):
    vlm.settings = replace(vlm.settings, data=str(path))
    return open_lessons(vlm.settings, 48)


def test_a_users_held_out_conversations_are_asked_their_first_question(tmp_path):
    vlm = Reciting({"what color is it?": "red"})
    lessons = lessons_of(vlm, colored(tmp_path, 20))  # number 9 is red, number 19 green
    found = measure_conversations(vlm, lessons)
    assert found.pairs == [("red", "red"), ("green", "red")]
    assert (found.exact, found.count) == (0.5, 2)
    features = vlm.look(lessons.images)
    assert found.perplexity == pytest.approx(answer_perplexity(vlm, lessons.held_out, features))
    for number, (seen, turns) in zip((9, 19), vlm.asked, strict=True):
        assert [turn.text for turn in turns] == ["\nwhat color is it?"]
        np.testing.assert_allclose(seen, features[[number]], atol=1e-6)


def test_a_held_out_conversation_may_be_about_no_picture(tmp_path):
    colored(tmp_path)
    about = [sample("<image>\nit?", "red", image=f"{i}.png") for i in range(9)]
    path = written(tmp_path, [*about, sample("hello", "hi")])
    vlm = Reciting({"hello": "hi."})
    found = measure_conversations(vlm, lessons_of(vlm, path))
    assert found.pairs == [("hi", "hi.")]
    assert found.exact == 1
    assert vlm.asked[0][0] is None


def test_a_first_question_is_asked_about_its_own_pictures_only(tmp_path):
    colored(tmp_path)
    about = [sample("<image>\nit?", "red", image=f"{i}.png") for i in range(9)]
    later = sample("<image>\nit?", "red", "<image>\nand it?", "blue", image=["9.png", "11.png"])
    first = sample("hello", "hi", "<image>\nit?", "blue", image="11.png")
    path = written(tmp_path, [*about, later, *about, first])
    vlm = Reciting({"it?": "red", "hello": "hi"})
    lessons = lessons_of(vlm, path)
    found = measure_conversations(vlm, lessons)
    assert found.pairs == [("red", "red"), ("hi", "hi")]
    features = vlm.look(lessons.images)
    (ninth, _), (none, _) = vlm.asked
    np.testing.assert_allclose(ninth, features[[lessons.held_out[0].pictures[0]]], atol=1e-6)
    assert none is None


def test_too_few_conversations_to_hold_one_out_are_refused(tmp_path):
    vlm = Reciting({})
    lessons = lessons_of(vlm, colored(tmp_path, 9))
    with pytest.raises(InputError, match=r"talks\.json: too few conversations to hold one out"):
        measure_conversations(vlm, lessons)

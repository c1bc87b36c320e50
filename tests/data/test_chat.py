import json
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.data.chat import (
    ASSISTANT,
    IMAGE,
    USER,
    Conversation,
    Turn,
    bare,
    next_token_labels,
    padded,
    question_ids,
    training_sample,
    vicuna,
)
from minivlm.data.conversations import read_conversations
from minivlm.errors import InputError

TEMPLATE = bare(start=1, question=3, answer=4, end=2)
IMAGE_TOKEN, IMAGE_TOKENS = 9, 3


def encode(text):
    """A letter is an id, so that every id can be read."""
    return [100 + ord(letter) for letter in text]


def decode(ids):
    return "".join(chr(i - 100) if i >= 100 else f"<{i}>" for i in ids)


def conversation(*texts, images=()):
    turns = tuple(Turn.marked((USER, ASSISTANT)[i % 2], text) for i, text in enumerate(texts))
    return Conversation(turns, tuple(images), "data.json, line 7")


def sample(conversation, template=TEMPLATE, most=1000):
    return training_sample(conversation, template, encode, IMAGE_TOKEN, IMAGE_TOKENS, most)


def test_answers_and_their_ends_are_learnt_and_nothing_else():
    one = sample(conversation(f"{IMAGE}what?", "cat", "sure?", "yes", images=["cat.jpg"]))
    assert decode(one.ids) == "<1><3><9><9><9>what?<4>cat<2><3>sure?<4>yes<2>"
    assert decode(one.ids[one.learnt]) == "cat<2>yes<2>"
    assert one.images == ("cat.jpg",)


def test_vicuna_is_laid_out_as_in_llava():
    one = sample(conversation("hi", "hello"), vicuna(start=1, end=2))
    assert decode(one.ids).endswith("questions. USER: hi ASSISTANT: hello<2>")
    assert decode(one.ids[one.learnt]) == "hello<2>"


@given(
    texts=st.lists(st.text("ab <>", min_size=1, max_size=5), min_size=1, max_size=6),
    where=st.integers(0, 5),
)
def test_whatever_is_said_only_answers_are_learnt_and_questions_lead_up_to_them(texts, where):
    where = min(where, len(texts) - 1) // 2 * 2  # a picture in one of the user's turns
    texts[where] = IMAGE + texts[where]
    whole = conversation(*texts, images=["x.jpg"])
    if len(texts) < 2:
        with pytest.raises(InputError, match="nothing to learn"):
            sample(whole)
        return
    one = sample(whole)
    answers = texts[1::2]
    assert decode(one.ids[one.learnt]) == "".join(f"{answer}<2>" for answer in answers)
    assert (one.ids == IMAGE_TOKEN).sum() == IMAGE_TOKENS
    for number in range(1, len(texts), 2):  # what one asks is, id by id, what was trained
        asked = question_ids(whole.turns[:number], TEMPLATE, encode, IMAGE_TOKEN, IMAGE_TOKENS)
        assert one.ids[: len(asked)].tolist() == asked.tolist()
        assert one.learnt[len(asked)]
        assert not one.learnt[len(asked) - 1]


def test_pictures_stand_where_they_are_mentioned():
    one = sample(conversation(f"a{IMAGE}b{IMAGE}", "c", images=["1", "2"]))
    assert decode(one.ids) == "<1><3>a<9><9><9>b<9><9><9><4>c<2>"
    none = sample(conversation("a", "b"))
    assert IMAGE_TOKEN not in none.ids


def test_a_long_conversation_is_cut():
    one = sample(conversation("ask", "long answer"), most=9)
    assert decode(one.ids) == "<1><3>ask<4>lon"
    assert decode(one.ids[one.learnt]) == "lon"


@pytest.mark.parametrize(
    ("talk", "most", "sentence"),
    [
        (conversation("a"), 99, "nothing to learn, no turn is by gpt"),
        (conversation("abcdef", "g"), 5, "nothing to learn, the first answer is beyond 5 tokens"),
        (conversation("a", "b", f"{IMAGE}", "c", images=["1"]), 8, "picture lies beyond the 8"),
        (conversation(f"{IMAGE}{IMAGE}", "b", images=["1"]), 99, "2 <image> in the text, 1 pict"),
        (conversation("a", "b", images=["1"]), 99, "0 <image> in the text, 1 pictures"),
    ],
)
def test_a_sample_that_cannot_be_learnt_says_why_and_where(talk, most, sentence):
    with pytest.raises(InputError, match=f"data.json, line 7: .*{sentence}"):
        sample(talk, most=most)


def test_a_question_must_be_the_users():
    with pytest.raises(ValueError, match="no question"):
        question_ids(conversation("a", "b").turns, TEMPLATE, encode, 9, 3)


def test_a_batch_is_padded_and_labels_are_the_tokens_that_follow():
    samples = [sample(conversation("a", "b")), sample(conversation("ab", "cd"))]
    ids, learnt = padded(samples, pad=0)
    assert ids.shape == (2, 8)
    assert ids[0, 6:].tolist() == [0, 0]
    labels = next_token_labels(ids, learnt, ignore=-100)
    for row in range(2):
        at = np.flatnonzero(labels[row] != -100)
        np.testing.assert_array_equal(labels[row, at], ids[row, at + 1])
        assert decode(labels[row, at]) == ("b<2>", "cd<2>")[row]
        assert ids[row, at[0]] == 4  # the first is predicted from the token before the answer


TANGLED = st.lists(st.sampled_from([IMAGE, "<", "image", ">", "a", "ä", "\n"]), max_size=9)


@given(TANGLED.map("".join))
def test_a_marked_turn_keeps_every_letter_and_every_place(text):
    turn = Turn.marked(USER, text)
    assert IMAGE.join(turn.parts()) == text
    assert "".join(turn.parts()) == turn.text
    assert len(turn.pictures) == text.count(IMAGE)
    assert list(turn.pictures) == sorted(turn.pictures)
    assert not any(IMAGE in part for part in turn.parts())


@given(st.lists(st.text("ab<image>", max_size=8), min_size=1, max_size=5))
def test_parts_are_what_was_put_between_pictures(between):
    ends = list(accumulate(map(len, between)))
    turn = Turn(USER, "".join(between), tuple(ends[:-1]))
    assert turn.parts() == between


@pytest.mark.parametrize("text", [IMAGE, f"{IMAGE}{IMAGE}", f"a {IMAGE}"])
def test_what_looks_like_a_mark_is_text_where_no_file_said_it(text):
    assert Turn(USER, text).parts() == [text]
    talk = Conversation((Turn(USER, text), Turn(ASSISTANT, "b")), (), "typed by a user")
    assert decode(sample(talk).ids) == f"<1><3>{text}<4>b<2>"


def test_a_mark_that_appears_when_another_is_taken_out_is_text():
    turn = Turn.marked(USER, "<ima<image>ge>")
    assert (turn.text, turn.pictures) == (IMAGE, (4,))
    talk = Conversation((turn, Turn(ASSISTANT, "b")), ("1",), "data.json, line 7")
    assert decode(sample(talk).ids) == "<1><3><ima<9><9><9>ge><4>b<2>"


# Files.


def turns(*texts):
    return [{"from": (USER, ASSISTANT)[i % 2], "value": text} for i, text in enumerate(texts)]


def written(tmp_path, text):
    path = tmp_path / "data.json"
    path.write_text(text, encoding="utf-8")
    return list(read_conversations(path))


GOOD = {"id": "1", "image": "cat.jpg", "conversations": turns("<image>\nwhat?", "A cat.")}


@pytest.mark.parametrize("indent", [None, 1])
def test_llavas_list_is_read_with_lines(tmp_path, indent):
    text = json.dumps([GOOD, GOOD | {"image": ["a", "b"]}, {"conversations": turns("x", "y")}])
    if indent:
        text = json.dumps(json.loads(text), indent=indent)
    one, two, three = written(tmp_path, text)
    assert one.turns[1] == Turn(ASSISTANT, "A cat.")
    assert (one.images, two.images, three.images) == (("cat.jpg",), ("a", "b"), ())
    lines = [int(c.where.rsplit(" ", 1)[1]) for c in (one, two, three)]
    starts = [n for n, line in enumerate(text.splitlines(), 1) if line == " {"]
    assert lines == (starts if indent else [1, 1, 1])


def test_one_sample_a_line_is_read_too(tmp_path):
    found = written(tmp_path, f"{json.dumps(GOOD)}\n\n{json.dumps(GOOD)}\n")
    assert [c.where.rsplit(" ", 1)[1] for c in found] == ["1", "3"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (3, "a sample is not an object"),
        ({}, '"conversations" is missing or empty'),
        (GOOD | {"image": 3}, '"image" is neither a path nor a list of paths'),
        (GOOD | {"conversations": [3]}, "turn 1 is from None, not"),
        (GOOD | {"conversations": turns("a", "b")[::-1]}, "turn 1 is from 'gpt', not \"human\""),
        (GOOD | {"conversations": turns("a", " ")}, 'turn 2 has no "value"'),
    ],
)
def test_a_bad_sample_is_an_error_in_its_place(tmp_path, value, sentence):
    before, bad, after = written(tmp_path, json.dumps([GOOD, value, GOOD], indent=1))
    assert isinstance(before, Conversation)
    assert isinstance(after, Conversation)
    assert isinstance(bad, InputError)
    assert sentence in str(bad)
    line = json.dumps([GOOD], indent=1).count("\n") + 1
    assert f"data.json, line {line}:" in str(bad)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[{"a": 1,\n}]', "line 2: not JSON"),
        ("[{} {}]", "no comma between samples"),
        ("[{},", "not JSON"),
        ("[{}", "the list has no end"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_json_is_said_with_its_line(tmp_path, text, sentence):
    assert sentence in str(written(tmp_path, text)[-1])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "data.json").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in str(next(read_conversations(tmp_path / "data.json")))
    assert "No such file" in str(next(read_conversations(tmp_path / "none.json")))

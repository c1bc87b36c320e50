"""VQA's formula against what its official code gives, case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.evaluate.answers import (
    CONTRACTIONS,
    RESTORED,
    exact,
    normalised,
    vqa_accuracy,
    without_marks,
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Yes.", "yes"),
        ("The red one", "red 1"),
        ("none", "0"),
        ("an apple, a pear", "apple pear"),  # a mark beside a space vanishes
        ("black/white", "black white"),  # another becomes a space
        ("1,000 cats!", "1000 cats"),  # a number with a comma: all marks vanish
        ("x-ray 1,000", "xray 1000"),
        ("3.5", "3.5"),  # a full stop before a digit stays
        ("a.m.", "am"),
        ("dont know", "don't know"),
        ("i'dve", "i'dve"),  # the official table has it with a capital, which never occurs
        ("couldnt've", "couldn't've"),
        ("couldntve", "couldntve"),  # two are missing
        ("shed've", "she'd've"),
        ("shed", "shed"),
        ("somebody'd", "somebodyd"),  # the official table's slip
        ("\n two\tdogs ", "2 dogs"),
        ("it's 10:30", "it's 10:30"),  # neither apostrophe nor colon is a mark
        ("", ""),
    ],
)
def test_answers_are_normalised_as_in_the_official_code(answer, expected):
    assert normalised(answer) == expected


def test_at_most_32_full_stops_are_stripped_as_in_the_official_code():
    assert without_marks("." * 40) == "." * 8


def test_every_contraction_is_restored_from_each_form_that_lacks_one_apostrophe():
    assert RESTORED["mightntve".replace("ntve", "nt've")] == "mightn't've"
    assert RESTORED["mightn'tve"] == "mightn't've"
    assert {RESTORED["ow's'at"], RESTORED["'ows'at"], RESTORED["'ow'sat"]} == {"'ow's'at"}
    assert all(word.count("'") >= 1 for word in CONTRACTIONS.split())
    assert not set(RESTORED) & set(CONTRACTIONS.split())


@pytest.mark.parametrize(
    ("agreeing", "expected"),
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)],
)
def test_three_people_suffice(agreeing, expected):
    references = ["red"] * agreeing + [f"other {i}" for i in range(10 - agreeing)]
    assert vqa_accuracy("Red!", references) == pytest.approx(expected)


def test_references_lose_their_marks_only_where_people_differ():
    assert vqa_accuracy("t shirt", ["t-shirt"] * 10) == 0
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 10) == 0  # a model's answer always does
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 9 + ["shirt"]) == pytest.approx(1)


def test_several_people_are_needed():
    with pytest.raises(ValueError, match="several reference answers, not 1"):
        vqa_accuracy("red", ["red"])


@given(st.text(), st.lists(st.text(), min_size=2, max_size=10))
def test_accuracy_is_a_share_whatever_is_said(answer, references):
    assert 0 <= vqa_accuracy(answer, references) <= 1


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [(" red.", "red", True), ("red", "Red", False), ("top", "top left", False)],
)
def test_exact_means_word_for_word(answer, reference, right):
    assert exact(answer, reference) is right

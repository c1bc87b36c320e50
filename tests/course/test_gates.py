"""What must hold of every exercise (course.md, G1 to G6), and that each gate can say no."""

import dataclasses

import pytest

from minivlm.course import author
from minivlm.course.record import Change, catalogue, find

EXERCISES = list(catalogue().values())
names = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


@names
def test_an_exercise_may_be_handed_out(exercise):
    assert author.complaints(exercise) == []


def test_there_are_thirty_exercises_in_five_parts_and_sixty_mistakes():
    assert [exercise.id for exercise in EXERCISES] == [f"E{n:02}" for n in range(30)]
    assert "".join(dict.fromkeys(exercise.part for exercise in EXERCISES)) == "ABCDE"
    assert sum(len(exercise.mistakes) for exercise in EXERCISES) >= 60
    assert sum(bool(exercise.variants) for exercise in EXERCISES) >= 6


def changed(text="E10", **fields):
    return dataclasses.replace(find(text), **fields)


def test_a_mistake_that_is_none_is_a_complaint():
    harmless = Change("none", "Nothing.", (("    R = H // G", "    R = 1 * H // G"),))
    lines = list(author.mistakes_named(changed(mistakes=(harmless,))))
    assert "passes with the mistake 'none'" in lines[0]


def test_two_mistakes_with_the_same_results_are_a_complaint():
    mistake = find("E10").mistakes[0]
    twin = dataclasses.replace(mistake, name="twin")
    assert "'twin' is taken for" in next(author.mistakes_named(changed(mistakes=(mistake, twin))))


def test_a_variant_that_is_the_librarys_own_is_a_complaint():
    harmless = Change("none", "Nothing.", (("    R = H // G", "    R = 1 * H // G"),))
    assert "passes for the variant" in next(author.variants_work(changed(variants=(harmless,))))


def test_an_edit_that_no_longer_fits_the_library_is_a_complaint():
    gone = Change("gone", "It says so.", (("words that are not there", ""),))
    assert "0 times in the library" in "\n".join(author.complaints(changed(mistakes=(gone,))))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"hints": ("one", "two")}, "2 hints"),
        ({"mistakes": ()}, "no known mistake"),
        ({"picture": ""}, "no picture"),
        ({"needs": ("E11",)}, "not an earlier exercise"),
        ({"hints": ("one", "two", " ")}, "an empty hint"),
    ],
)
def test_an_incomplete_record_is_a_complaint(fields, says):
    assert says in "\n".join(author.record_complete(changed(**fields)))


def test_a_check_that_calls_a_later_exercise_is_a_complaint(monkeypatch):
    late = changed("E17", id="E99")  # the causal mask, which E18's attention needs
    monkeypatch.setattr(author, "catalogue", lambda: {"E99": late})
    (line,) = author.nothing_later(find("E18"))
    assert "calls minivlm.ops.attention.causal_mask, which is a later exercise" in line

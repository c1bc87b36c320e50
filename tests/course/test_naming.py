"""A mistake is named where the results show it, and no other is."""

import dataclasses

from minivlm.course import check
from minivlm.course.ask import Asked
from minivlm.course.compare import Failed
from minivlm.course.record import find
from minivlm.course.solved import solution


def test_exceptions_alone_name_a_mistake_only_in_its_words():
    exercise = find("E09")
    mistake = next(each for each in exercise.mistakes if each.name == "no broadcast")
    cases = check.cases_of(exercise, check.SEED)
    expected = check.results(exercise, cases, None)
    got = check.results(exercise, cases, mistake)
    assert check.judged(exercise, cases, got, expected).mistake is mistake
    other = [dataclasses.replace(r, message="?") if isinstance(r, Failed) else r for r in got]
    assert check.judged(exercise, cases, other, expected).mistake is None


def verdict(tmp_path, *edits):
    exercise = find("E02")
    text = solution(exercise)
    for old, new in edits:
        assert text.count(old) == 1
        text = text.replace(old, new)
    file = tmp_path / f"{exercise.stem}.py"
    file.write_text(text, encoding="utf-8")
    return check.verdict(exercise, Asked(exercise, file, seed=check.SEED), check.SEED, None)


UNWRITTEN = (
    "    if leaf.grad is None:",
    "    raise NotImplementedError\n    if leaf.grad is None:",
)


def test_what_is_written_is_judged_before_the_rest_is_there(tmp_path):
    found = verdict(tmp_path, UNWRITTEN, ("if n == 1)", "if i == 1)"))
    assert found.mistake is not None
    assert found.mistake.name == "axis index for value"


def test_what_is_only_not_written_is_no_mistake(tmp_path):
    found = verdict(tmp_path, UNWRITTEN)
    assert found.unwritten
    assert found.mistake is None

"""What `minivlm eval vlm` prints and leaves behind."""

from dataclasses import replace

import pytest

from minivlm.errors import InputError
from minivlm.evaluate.captions import CaptionScores
from minivlm.evaluate.pope import Hallucination
from minivlm.files import read_json
from minivlm.recipes import eval_vlm as recipe
from minivlm.recipes import pretrained
from minivlm.recipes.eval_vlm import EXAMPLES, conversation_lines, eval_vlm, examples, tables
from minivlm.recipes.measure_vlm import Asked, ConversationScores, Measured
from tests.recipes.scripted import saved
from tests.recipes.small import untrained_vlm
from tests.recipes.talks import colored

CAPTIONS = CaptionScores(0.11, 0.22, 0.33, 0.44, 0.55, 0.66, 9)
BLIND = CaptionScores(0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 9)
POPE = Hallucination("random", 0.61, 0.62, 0.63, 0.64, 0.65, 8)


def asked(kind, things, right, number=0):
    answers = ("yes", "no") if right else ("no", "yes")
    return Asked(number, kind, things, f"{kind}?", "yes", *answers)


MEASURED = Measured(
    asked=[asked("exist", 1, True), asked("exist", 2, False), asked("relation", 2, True)],
    unseen=[asked("exist", 1, False), asked("relation", 2, False)],
    captions=CAPTIONS,
    blind_captions=BLIND,
    hallucination=[POPE],
    perplexity=1.2345,
    seed=77,
)


def cells(line):
    """Where the figures of a row end, and the figures."""
    words, ends, at = line.split(), [], 0
    for word in words:
        at = line.index(word, at) + len(word)
        ends.append(at)
    return dict(zip(ends, words, strict=True))


def test_tables_have_each_figure_under_its_heading():
    lines = "\n".join(tables(MEASURED)).splitlines()
    header = lines[1]
    exist, relation, mean = (cells(line[22:]) for line in lines[2:5])
    places = {name: header.index(name) + len(name) - 22 for name in (" all", "1 thing", "2 things")}
    places |= {name: header.index(name) + len(name) - 22 for name in ("unseen pairs", "no picture")}
    assert [exist[at] for at in places.values()] == ["0.500", "1.000", "0.000", "0.000", "0.500"]
    assert places["1 thing"] not in relation  # of one thing nothing is asked
    assert relation[places["2 things"]] == "1.000"
    assert mean[places[" all"]] == "0.750"
    assert lines[2].split()[0] == "exist"
    text = "\n".join(lines)
    assert "0.110        0.220        0.330        0.440        0.550" in text
    assert "0.010        0.020        0.030        0.040        0.050" in text
    assert "0.610        0.620        0.630        0.640        0.650" in text
    assert "perplexity of right answers: 1.234 (1 is certainty)" in text
    assert "3 questions, 9 captions, 8 POPE questions a setting; scenes of seed 77" in text


def test_examples_are_of_every_kind_some_right_and_some_wrong():
    many = [asked(kind, 1, right, i) for i in range(30) for kind, right in (("a", 1), ("b", 0))]
    many.insert(40, asked("c", 1, True, 99))
    chosen = examples(many)
    right = [a for a in chosen if a.right]
    assert [len(right), len(chosen)] == [EXAMPLES, 2 * EXAMPLES]
    assert {a.kind for a in right} == {"a", "c"}
    assert {a.kind for a in chosen if not a.right} == {"b"}
    for part in (right, [a for a in chosen if not a.right]):
        assert len({a.picture for a in part}) == EXAMPLES  # each about another picture
    assert {a.right for a in chosen[:EXAMPLES]} == {False}  # wrong ones first
    few = examples(many[:4])
    assert sorted(few, key=many.index) == many[:4]
    assert examples(many) == chosen
    assert examples([]) == []


def test_the_lines_of_a_users_own_conversations_quote_a_few_answers():
    pairs = [(f"right {i}", f"said {i}\n") for i in range(8)]
    lines = list(conversation_lines(ConversationScores(2.5, 0.25, 8, pairs)))
    assert "2.500" in lines[0]
    assert "0.250 of 8" in lines[1]
    assert lines[2:4] == ["  expected: 'right 0'", "  answered: 'said 0\\n'"]
    assert len(lines) == 2 + 2 * 5


def test_what_is_measured_on_scenes_is_told_and_kept(tmp_path, monkeypatch):
    folder, said, things = saved(untrained_vlm(), tmp_path / "run"), [], []

    def measure(vlm, most):
        things.append(most)
        return MEASURED

    monkeypatch.setattr(recipe, "measure_vlm", measure)
    eval_vlm(folder, None, said.append)
    eval_vlm(folder, 4, said.append)
    assert things == [2, 4]  # as many as in training, unless told
    assert said[: len(list(tables(MEASURED)))] == list(tables(MEASURED))
    assert said[-1] == f"\nAlso in {folder / 'scores.json'}"
    assert read_json(folder / "scores.json") == MEASURED.to_json()


def test_a_users_conversations_are_measured_where_it_learnt_from_them(tmp_path):
    vlm, said = untrained_vlm(), []
    vlm.settings = replace(vlm.settings, data=str(colored(tmp_path / "talks", 10)))
    folder = saved(vlm, tmp_path / "run")
    eval_vlm(folder, None, said.append)
    scores = read_json(folder / "scores.json")
    assert scores["count"] == 1
    assert scores["pairs"][0][0] == "red"
    assert scores["perplexity"] > 100  # of 262 tokens
    assert f"perplexity of held-out answers: {scores['perplexity']:.3f}" in said[0]


def test_a_model_that_comes_with_minivlm_is_not_written_to(tmp_path, monkeypatch):
    folder = saved(untrained_vlm(), tmp_path / "vlm")
    monkeypatch.setattr(pretrained, "PRETRAINED", tmp_path)
    monkeypatch.setattr(recipe, "measure_vlm", lambda vlm, things: MEASURED)
    before = {path.name for path in folder.iterdir()}
    said = []
    eval_vlm(folder, None, said.append)
    assert {path.name for path in folder.iterdir()} == before
    assert not any("scores.json" in line for line in said)
    assert said == list(tables(MEASURED))


@pytest.mark.parametrize("things", [0, 5, 9, -1])
def test_things_out_of_range_are_refused_and_nothing_is_written(tmp_path, things):
    folder = saved(untrained_vlm(), tmp_path / "run")
    with pytest.raises(InputError, match=rf"things {things} is not in 1\.\.4"):
        eval_vlm(folder, things, print)
    assert not (folder / "scores.json").exists()

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.evaluate.pope import SETTINGS, Habits, Poll, judged, polls, says_yes

CLASSES = ("cat", "dog", "cup", "car", "bus")
CONTENTS = [{"cat", "dog"}, {"cat", "dog"}, {"cat", "cup"}, {"car"}, {"cat", "bus"}, {"cup"}]
HABITS = Habits.of(CONTENTS, CLASSES)


def test_habits_are_counted_in_pictures():
    assert HABITS.frequency.tolist() == [4, 2, 2, 1, 1]
    assert HABITS.together[0].tolist() == [0, 2, 1, 0, 1]
    assert (HABITS.together == HABITS.together.T).all()


@given(st.integers(0, 99), st.sampled_from(SETTINGS), st.integers(1, 3))
def test_half_of_the_questions_are_to_be_answered_yes_and_all_are_true(seed, setting, each):
    asked = polls(CONTENTS, HABITS, setting, np.random.default_rng(seed), each)
    assert sum(p.present for p in asked) * 2 == len(asked)
    for poll in asked:
        assert (poll.thing in CONTENTS[poll.picture]) == poll.present
    assert len(set(asked)) == len(asked)


def test_popular_asks_for_what_is_frequent_and_adversarial_for_what_comes_together():
    def absent(setting, there):
        asked = polls([there], HABITS, setting, np.random.default_rng(0), each=1)
        return [p.thing for p in asked if not p.present]

    assert absent("popular", {"car"}) == ["cat"]
    assert absent("popular", {"cat", "dog"}) == ["cup"]
    assert absent("adversarial", {"cat"}) == ["dog"]
    assert absent("adversarial", {"cup"}) == ["cat"]
    chosen = {
        polls([{"cat"}], HABITS, "random", np.random.default_rng(seed), each=1)[1].thing
        for seed in range(60)
    }
    assert chosen == {"dog", "cup", "car", "bus"}


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        ("yes", True),
        ("No", False),
        ("no, there is none", False),
        ("There is not.", False),
        ("Yes. There is no doubt.", True),  # only the first sentence counts
        ("NO", True),  # the rule knows no and No, nothing else
        ("nothing", True),
        ("", True),
    ],
)
def test_the_rule_of_popes_code(answer, yes):
    assert says_yes(answer) is yes


def test_figures_by_hand():
    asked = [Poll(0, "cat", present=i < 4) for i in range(8)]
    answers = ["yes", "yes", "yes", "no", "yes", "no", "no", "no"]
    found = judged("random", asked, answers)
    assert (found.accuracy, found.precision, found.recall, found.f1, found.yes_rate) == (
        0.75,
        0.75,
        0.75,
        0.75,
        0.5,
    )
    always = judged("random", asked, ["yes"] * 8)
    assert always.f1 == pytest.approx(2 / 3)
    assert always.yes_rate == 1
    never = judged("random", asked, ["no"] * 8)
    assert (never.precision, never.recall, never.f1, never.accuracy) == (0, 0, 0, 0.5)


def test_bad_calls_are_named():
    with pytest.raises(ValueError, match='"often" is none of random, popular, adversarial'):
        polls(CONTENTS, HABITS, "often", np.random.default_rng(0))
    with pytest.raises(ValueError, match="1 answers do not fit 0 questions"):
        judged("random", [], ["yes"])

"""POPE: does a model say that there are things which are not?

Half of the questions ask for a thing that is in the picture, half for one that is not. Which
absent thing is asked for makes it easy or hard: any one (random), one that is frequent in the data
(popular), or one that often comes together with what is there (adversarial). A model that answers
from habit fails the last.

Source: Li et al. 2023, arXiv:2305.10355, section 4; RUCAIBox/POPE, evaluate.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SETTINGS = ("random", "popular", "adversarial")


@dataclass(frozen=True)
class Habits:
    """What usually is in a picture: counted in training data, by POPE's builder and by models.

    Attributes:
        classes: names of things.
        frequency: pictures in which a class occurs (K,).
        together: pictures in which two classes occur together (K, K), 0 on the diagonal.
    """

    classes: tuple[str, ...]
    frequency: np.ndarray
    together: np.ndarray

    @classmethod
    def of(cls, contents: Sequence[set[str]], classes: Sequence[str]) -> Habits:
        """Count the classes in the contents of pictures."""
        present = np.array([[name in there for name in classes] for there in contents], int)
        together = present.T @ present  # (K, K)
        frequency = np.diag(together).copy()
        np.fill_diagonal(together, 0)
        return cls(tuple(classes), frequency, together)


@dataclass(frozen=True)
class Poll:
    """One question: is there a thing of this class in that picture?

    Attributes:
        picture: its number.
        thing: the class asked for.
        present: whether it is there.
    """

    picture: int
    thing: str
    present: bool


@dataclass(frozen=True)
class Hallucination:
    """What POPE reports of one setting; each figure is a share, 0..1.

    Attributes:
        setting: one of SETTINGS.
        accuracy: answers that were right.
        precision: of the answers yes, those that were right.
        recall: of the things that are there, those that were seen.
        f1: the harmonic mean of the two.
        yes_rate: answers that were yes; 0.5 would be right.
        count: questions.
    """

    setting: str
    accuracy: float
    precision: float
    recall: float
    f1: float
    yes_rate: float
    count: int


def polls(
    contents: Sequence[set[str]],
    habits: Habits,
    setting: str,
    rng: np.random.Generator,
    each: int = 3,
) -> list[Poll]:
    """Questions about pictures, as many to be answered yes as no.

    Args:
        contents: the classes of things in each picture.
        habits: of the training data.
        setting: one of SETTINGS.
        rng: picks among the things that are there, and among absent ones where it is "random".
        each: most questions of either kind about a picture; a picture that lacks things, or
            absent classes, is asked fewer.

    Raises:
        ValueError: there is no such setting.
    """
    if setting not in SETTINGS:
        raise ValueError(f'setting "{setting}" is none of {", ".join(SETTINGS)}')
    asked = []
    for number, there in enumerate(contents):
        present = sorted(there)
        absent = [name for name in habits.classes if name not in there]
        count = min(each, len(present), len(absent))
        ranked = [absent[i] for i in rng.permutation(len(absent))]
        if setting != "random":  # a stable sort: among equals, chance decides
            ranked.sort(key=lambda name: -_expected(name, present, habits, setting))
        for i in rng.permutation(len(present))[:count]:
            asked.append(Poll(number, present[i], present=True))
        asked += [Poll(number, name, present=False) for name in ranked[:count]]
    return asked


def _expected(name: str, present: Sequence[str], habits: Habits, setting: str) -> int:
    """How much the data makes one expect an absent thing."""
    k = habits.classes.index(name)
    if setting == "popular":
        return int(habits.frequency[k])
    return int(sum(habits.together[habits.classes.index(other), k] for other in present))


def says_yes(answer: str) -> bool:
    """POPE's rule for an answer in words: no where its first sentence says no or not."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    return not ({"No", "not", "no"} & set(words))


def judged(setting: str, asked: Sequence[Poll], answers: Sequence[str]) -> Hallucination:
    """Compare answers with the truth.

    Raises:
        ValueError: questions and answers differ in number, or there are none.
    """
    if len(asked) != len(answers) or not asked:
        raise ValueError(f"{len(answers)} answers do not fit {len(asked)} questions")
    said = np.array([says_yes(answer) for answer in answers])
    true = np.array([poll.present for poll in asked])
    hits, right = int((said & true).sum()), float((said == true).mean())
    precision = hits / max(1, int(said.sum()))
    recall = hits / max(1, int(true.sum()))
    f1 = 2 * hits / max(1, int(said.sum() + true.sum()))
    return Hallucination(setting, right, precision, recall, f1, float(said.mean()), len(asked))

"""How right an answer is: word for word, or as VQA scores it against ten people's answers.

VQA's formula forgives what people do not mean: case, articles, most marks, numbers as words. Its
code is followed to the letter, two slips included, for published figures were made with it.

Source: Antol et al. 2015, arXiv:1505.00468, section 5; GT-Vision-Lab/VQA,
PythonEvaluationTools/vqaEvaluation/vqaEval.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)} | {"none": "0"}
ARTICLES = ("a", "an", "the")
MARKS = ';/[]"{}()=+\\_-><@`,?!'
MOST_PERIODS = 32  # stripped from an answer: a flag in the place of a count, in the official code

# Words whose apostrophe people leave out. Of several apostrophes, exactly one is missing.
CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's
won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _without_one_apostrophe(word: str) -> Iterable[str]:
    """The word, once for each apostrophe that it may lack."""
    return (word[:i] + word[i + 1 :] for i, letter in enumerate(word) if letter == "'")


RESTORED = {short: word for word in CONTRACTIONS.split() for short in _without_one_apostrophe(word)}
RESTORED["somebody'd"] = "somebodyd"  # the other way round, as the official table has it


def exact(answer: str, reference: str) -> bool:
    """Whether an answer is the reference, white space around it and full stops aside."""
    return answer.strip().rstrip(".") == reference.strip().rstrip(".")


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """The share of people, three of whom suffice, who gave this answer.

    Leaving each person out in turn, an answer earns a third for each of the others who gave it,
    1 at most; the mean of these is its accuracy.

    Args:
        answer: a model's.
        references: people's, ten of them in VQA.

    Returns:
        0..1.

    Raises:
        ValueError: there are fewer than two references, so nobody is left when one is left out.
    """
    if len(references) < 2:
        raise ValueError(f"VQA's formula needs several reference answers, not {len(references)}")
    said = normalised(answer)
    if len(set(references)) > 1:  # where all agree, the official code leaves them as they are
        references = [without_marks(reference) for reference in references]
    matches = [reference == said for reference in references]
    earned = [min(1.0, (sum(matches) - match) / 3) for match in matches]
    return sum(earned) / len(earned)


def normalised(answer: str) -> str:
    """An answer in lower case, without marks and articles, numbers as digits, apostrophes back."""
    flat = answer.replace("\n", " ").replace("\t", " ").strip()
    words = (DIGITS.get(word, word) for word in without_marks(flat).lower().split())
    return " ".join(RESTORED.get(word, word) for word in words if word not in ARTICLES)


def without_marks(text: str) -> str:
    """Text without punctuation.

    A mark beside a space vanishes, another becomes a space, unless a number such as 1,000 makes
    all of them vanish. A full stop stays only before a digit.
    """
    vanish = re.search(r"\d,\d", text) is not None
    result = text
    for mark in MARKS:
        beside_space = f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if vanish or beside_space else " ")
    return re.sub(r"\.(?!\d)", "", result, count=MOST_PERIODS)

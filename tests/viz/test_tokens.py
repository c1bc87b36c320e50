"""A conversation in boxes: each token in its colour, the learnt ones underlined, and no others."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from minivlm.viz.style import BLUE, GRAY, GREEN, ORANGE
from minivlm.viz.tokens import BOX, LABEL, WIDTH, token_strip

SVG = "{http://www.w3.org/2000/svg}"
TOKENS = ["<start>", "<image>", "<image>", "<image>", "what", " color", "red", "<end>"]
KINDS = ["prompt", *["image"] * 3, "prompt", "prompt", "answer", "answer"]
LEARNT = [False] * 6 + [True, True]


def drawn(drawing):
    """The boxes as (words, colour, x, y, width), and the green lines as (x1, x2, y)."""
    root = ET.fromstring(drawing.svg())
    words = [(float(t.get("x")), float(t.get("y")), t.text) for t in root.iter(f"{SVG}text")]
    boxes = []
    for rect in root.iter(f"{SVG}rect"):
        if float(rect.get("height")) == BOX:
            x, y, wide = (float(rect.get(name)) for name in ("x", "y", "width"))
            [inside] = [text for tx, ty, text in words if x < tx < x + wide and y < ty < y + BOX]
            boxes.append((inside, rect.get("fill"), x, y, wide))
    lines = [
        (float(line.get("x1")), float(line.get("x2")), float(line.get("y1")))
        for line in root.iter(f"{SVG}line")
        if line.get("stroke") == GREEN
    ]
    return boxes, lines


def legend(drawing):
    names = {"image", "prompt", "answer", "learnt"}
    return set(re.findall(r">([a-z]+)</text>", drawing.svg())) & names


def test_each_token_has_a_box_in_the_colour_of_its_kind_and_a_picture_has_one():
    boxes, _ = drawn(token_strip(TOKENS, KINDS, LEARNT))
    assert [(words, color) for words, color, *_ in boxes] == [
        ("<start>", GRAY),
        ("3 image tokens", BLUE),
        ("what", GRAY),
        ("·color", GRAY),
        ("red", ORANGE),
        ("<end>", ORANGE),
    ]


def test_exactly_the_learnt_tokens_are_underlined():
    boxes, lines = drawn(token_strip(TOKENS, KINDS, LEARNT))
    under = {
        words
        for words, _, x, y, wide in boxes
        for x1, x2, at in lines
        if x < x1 < x2 < x + wide and y + BOX < at < y + BOX + 8
    }
    assert under == {"red", "<end>"}


def test_the_legend_names_what_is_shown_and_nothing_else():
    assert legend(token_strip(TOKENS, KINDS, LEARNT)) == {"image", "prompt", "answer", "learnt"}
    assert legend(token_strip(["a", "b"], ["prompt", "prompt"])) == {"prompt"}


def test_beneath_each_token_stands_what_is_to_be_said_after_it():
    labels = [None] * 5 + ["red", "<end>", None]
    drawing = token_strip(TOKENS, KINDS, LEARNT, labels)
    boxes, _ = drawn(drawing)
    root = ET.fromstring(drawing.svg())
    under = {}
    for text in root.iter(f"{SVG}text"):
        tx, ty = float(text.get("x")), float(text.get("y"))
        for words, _, x, y, wide in boxes:
            if x < tx < x + wide and y + BOX < ty < y + BOX + LABEL + 2:
                under[words] = text.text
    asked = {"·color": "red", "red": "<end>"}
    assert under == {words: "−100" for words, *_ in boxes} | asked | {"3 image tokens": "each −100"}
    legend_of = [text.text for text in root.iter(f"{SVG}text")][-1]
    assert legend_of.startswith("beneath: the label")


def test_a_label_within_a_picture_is_not_hidden():
    boxes, _ = drawn(token_strip(TOKENS, KINDS, None, [None, None, "oh", *[None] * 5]))
    assert [words for words, *_ in boxes].count("<image>") == 3


def test_labels_do_not_run_into_each_other_nor_into_the_next_line():
    labels = ["a rather long label", "another long label"] * 20
    drawing = token_strip(["a"] * 40, ["answer"] * 40, [True] * 40, labels)
    boxes, _ = drawn(drawing)
    assert all(wide >= 6.5 * len(labels[0]) for *_, wide in boxes)
    rows = sorted({y for _, _, _, y, _ in boxes})
    assert min(b - a for a, b in pairwise(rows)) > BOX + LABEL


def test_long_conversations_wrap_and_no_boxes_overlap():
    boxes, _ = drawn(token_strip(["word"] * 100, ["prompt"] * 100))
    assert len(boxes) == 100
    assert len({y for *_, y, _ in boxes}) > 3
    assert all(x + wide <= WIDTH for _, _, x, _, wide in boxes)
    for (_, _, x, y, wide), (_, _, later, below, _) in pairwise(boxes):
        assert below > y or later >= x + wide


def test_an_empty_token_and_one_that_is_markup_are_shown():
    boxes, _ = drawn(token_strip(["", "<b>&"], ["prompt", "answer"]))
    assert [words for words, *_ in boxes] == ["∅", "<b>&"]


@pytest.mark.parametrize(
    ("kinds", "learnt", "labels", "what"),
    [
        ([], None, None, "1 tokens"),
        (["prompt"], [True, False], None, "1 tokens"),
        (["prompt"], None, [None, "a"], "1 tokens"),
        (["question"], None, None, "not question"),
    ],
)
def test_what_does_not_fit_is_an_error(kinds, learnt, labels, what):
    with pytest.raises(ValueError, match=what):
        token_strip(["a"], kinds, learnt, labels)

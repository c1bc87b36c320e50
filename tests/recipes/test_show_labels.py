"""What show-labels marks is what training learns, token by token."""

import re

import numpy as np
import pytest

from minivlm.data.chat import training_sample, vicuna
from minivlm.data.conversations import read_conversations
from minivlm.data.draw import make_scenes
from minivlm.data.lessons import instruction
from minivlm.errors import InputError
from minivlm.recipes.show_labels import LEARNT, PICTURE, PLAIN, READ, show_labels
from tests.recipes.small import untrained_vlm
from tests.recipes.talks import sample, written

VLM = untrained_vlm(context=600)
SPECIAL = VLM.tokenizer.special


def lines(data, count=3, template="bare", colored=False):
    return list(show_labels(VLM, str(data), count, template, colored))


def learnt_from(conversation, style=VLM.template):
    config = VLM.model.config
    return training_sample(
        conversation,
        style,
        VLM.tokenizer.encode,
        config.image_token,
        config.image_tokens,
        VLM.settings.context,
    )


def scenes(count):
    """The conversations about scenes that are shown."""
    rng = np.random.default_rng(0)
    return [instruction(scene, 3, rng) for scene in make_scenes(count, seed=0)[0]]


def as_shown(sample):
    """Each token of a sample as text and whether it is learnt; a picture's are one."""
    image, width = VLM.model.config.image_token, VLM.model.config.image_tokens
    shown = []
    for token, learnt in zip(sample.ids, sample.learnt, strict=True):
        text = (*VLM.tokenizer.specials, *map(chr, range(256)))[token].replace("\n", "↵")
        shown.append((text, bool(learnt)))
    first = int(np.flatnonzero(sample.ids == image)[0])
    assert shown[first : first + width] == [("<image>", False)] * width
    return [*shown[:first], (f"<image>×{width}", False), *shown[first + width :]]


def plain(line):
    """Texts and marks of a line without colours."""
    marked = [re.fullmatch("⟦(.*)⟧", word) for word in line.split("·")]
    return [
        (word if mark is None else mark[1], mark is not None)
        for word, mark in zip(line.split("·"), marked, strict=True)
    ]


@pytest.mark.parametrize("template", ["bare", "vicuna"])
def test_exactly_the_tokens_that_training_learns_are_marked(template):
    style = VLM.template if template == "bare" else vicuna(SPECIAL("<start>"), VLM.tokenizer.end)
    head, *rest = lines("scenes", 3, template)
    assert head == "tokens are divided by ·  learnt ones are in ⟦⟧"
    assert rest[::3] == [""] * 3
    for conversation, count, tokens in zip(scenes(3), rest[1::3], rest[2::3], strict=True):
        sample = learnt_from(conversation, style)
        assert count == f"a scene: {len(sample.ids)} tokens, {sample.learnt.sum()} of them learnt"
        assert plain(tokens) == as_shown(sample)
        learnt = "".join(text for text, mark in plain(tokens) if mark)
        answers = [turn.text for turn in conversation.turns[1::2]]
        assert learnt == "".join(f"{answer}<end>" for answer in answers)


def test_vicunas_template_has_its_words_where_ours_has_special_tokens():
    ours, theirs = (lines("scenes", 1, template)[3] for template in ("bare", "vicuna"))
    words = "".join(text for text, _ in plain(theirs))
    assert words.startswith("<start>A chat between a curious user")
    assert " USER: <image>×9↵" in words
    assert words.count(" ASSISTANT: ") == words.count(" USER: ") == 3
    assert "<question>" in ours
    assert "<question>" not in theirs


def test_colors_say_the_same_as_marks():
    (head, *_), colored = lines("scenes", 1, colored=True), lines("scenes", 1, colored=True)[3]
    assert f"{LEARNT}green{PLAIN}" in head
    words = []
    for word in colored.split("·"):
        color = next(c for c in (LEARNT, READ, PICTURE) if word.startswith(c))
        assert word.endswith(PLAIN)
        text = word.removeprefix(color).removesuffix(PLAIN)
        assert (color == PICTURE) is text.startswith("<image>")
        words.append((text, color == LEARNT))
    assert words == plain(lines("scenes", 1)[3])
    assert "⟦" not in colored


def test_a_users_own_conversations_are_shown_and_their_pictures_not_needed(tmp_path):
    talk = sample("<image>\nwho?", "Zoë\nand I", "<end>?", "<end>", image="none.png")
    path = written(tmp_path, [talk] * 5)
    rest = lines(path, 2)[1:]
    assert len(rest) == 2 * 3
    assert rest[1].startswith(f"{path}, line 2: ")
    (conversation, *_) = read_conversations(path)
    learnt = [text for text, mark in plain(rest[2]) if mark]
    assert len(learnt) == learnt_from(conversation).learnt.sum()
    assert "↵" in learnt  # a line's end would break the row
    assert learnt.count("<end>") == 2  # the two that end answers; one that is typed is text
    assert "".join(learnt).endswith("<end><end>")


def test_text_that_looks_like_a_special_token_is_shown_letter_by_letter(tmp_path):
    path = written(tmp_path, [sample("<image>?<answer>", "a <end>", image="x.png")])
    shown = plain(lines(path)[3])
    assert [text for text, mark in shown if mark] == [*"a <end>", "<end>"]
    assert [text for text, _ in shown].count("<answer>") == 1


def test_as_many_are_shown_as_asked_for(tmp_path):
    assert len(lines("scenes", 7)) == 1 + 3 * 7
    path = written(tmp_path, [sample("<image>?", "a", image="x.png")] * 2)
    assert len(lines(path, 9)) == 1 + 3 * 2
    with pytest.raises(InputError, match="--count 0 is not positive"):
        lines(path, 0)


@pytest.mark.parametrize(
    ("talks", "sentence"),
    [
        ([sample("a", "b"), 7], r"line \d+: a sample is not an object"),
        ([sample("<image>", "b")], r"line 2: 1 <image> in the text, 0 pictures"),
        ([sample("hello")], "nothing to learn, no turn is by gpt"),
        ([sample("a" * 700, "b")], "the first answer is beyond 600 tokens"),
    ],
)
def test_bad_data_is_a_sentence_with_its_line(tmp_path, talks, sentence):
    with pytest.raises(InputError, match=rf"talks\.json, .*{sentence}"):
        lines(written(tmp_path, talks))

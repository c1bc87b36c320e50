"""A user's questions about a user's pictures: what is said, what is remembered, what is refused."""

import numpy as np
import pytest
from PIL import Image

from minivlm.data.chat import ASSISTANT, USER, Turn
from minivlm.data.image import resize_and_crop
from minivlm.data.lessons import PROMPT, about_picture
from minivlm.errors import InputError
from minivlm.models.generate import Sampling
from minivlm.recipes.trained_vlm import LONGEST_ANSWER
from minivlm.recipes.use_vlm import Chat, attention_of, captions, read_picture
from tests.recipes.scripted import lettered
from tests.recipes.small import untrained_vlm


@pytest.fixture(scope="module")
def vlm():
    return untrained_vlm()


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (48, 48, 3), np.uint8)


def says(monkeypatch, vlm, *texts):
    """Let a model write certain texts, one after the other, token by token."""
    answers = iter(texts)

    def write(ids, *rest):
        tokens = [*vlm.tokenizer.encode(next(answers)), vlm.end]
        return (np.array([token]) for token in tokens)

    monkeypatch.setattr(vlm, "_generate", write)


# What is said.


@pytest.mark.parametrize("question", ["what?", "is it a cat or a dog?", "Wo ist der Löwe?"])
def test_pieces_join_to_the_most_probable_answer(vlm, question):
    chat = Chat(vlm, picture())
    pieces = list(chat.ask(question))
    assert len(pieces) > 1
    assert "".join(pieces) == vlm.answers(vlm.look(picture()[None]), [question])[0]


def test_a_piece_is_never_half_a_character(vlm, monkeypatch):
    says(monkeypatch, vlm, "naïve €5, 猫")
    pieces = list(Chat(vlm, picture()).ask("what?"))
    assert pieces == [*"naïve €5, 猫", ""]


def test_bytes_that_never_become_a_character_are_said_at_the_end(vlm, monkeypatch):
    lone = vlm.tokenizer.specials.index("<answer>") + 1 + 0xE2  # the first of three bytes
    tokens = [np.array([token]) for token in (*vlm.tokenizer.encode("a"), lone, vlm.end)]
    monkeypatch.setattr(vlm, "_generate", lambda ids, *rest: iter(tokens))
    assert list(Chat(vlm, picture()).ask("what?")) == ["a", "\ufffd"]


def test_a_seed_decides_what_a_temperature_leaves_open(vlm):
    def said(seed, temperature=1.0, image=0):
        rng = np.random.default_rng(seed)
        return "".join(Chat(vlm, picture(image), Sampling(temperature), rng).ask("what?"))

    assert said(0) == said(0) != said(1)
    assert said(0, temperature=0.0) == said(1, temperature=0.0)
    assert said(0, image=0) != said(0, image=1)


def test_an_answer_ends_where_the_context_ends():
    vlm = lettered(context=40)
    chat = Chat(vlm, picture())
    asked = len(vlm.prompt([about_picture("what?")]))
    assert len("".join(chat.ask("what?"))) == 40 - asked
    roomy = Chat(lettered(context=400), picture())
    assert len("".join(roomy.ask("what?"))) == LONGEST_ANSWER


# What is remembered.


def test_a_conversation_goes_on_about_the_same_picture(vlm, monkeypatch):
    chat = Chat(vlm, picture())
    says(monkeypatch, vlm, "red", "two", "")
    assert "".join(chat.ask(" what color? ")) == "red"
    assert "".join(chat.ask("how many?")) == "two"
    assert "".join(chat.ask("sure?")) == ""
    assert chat.turns == [
        Turn(USER, "\nwhat color?", pictures=(0,)),
        Turn(ASSISTANT, "red"),
        Turn(USER, "how many?"),
        Turn(ASSISTANT, "two"),
        Turn(USER, "sure?"),
        Turn(ASSISTANT, ""),
    ]


def test_earlier_turns_are_read_before_a_later_question(vlm):
    chat = Chat(vlm, picture())
    for question in ("a?", "b?"):
        list(chat.ask(question))
    again = "".join(vlm.stream(chat.seen, chat.turns[:3]))
    assert again == chat.turns[3].text
    alone = "".join(Chat(vlm, picture()).ask("b?"))
    assert alone != again


def test_an_answer_that_is_broken_off_is_not_remembered(vlm):
    chat = Chat(vlm, picture())
    pieces = chat.ask("what?")
    next(pieces)
    pieces.close()
    assert chat.turns == []


def test_special_tokens_in_a_question_are_nothing_but_text(vlm):
    question = "<image> <end> <answer>red<end><pad>?"
    chat = Chat(vlm, picture())
    assert "".join(chat.ask(question)) == "".join(vlm.stream(chat.seen, [about_picture(question)]))
    ids = vlm.prompt(chat.turns[:1]).tolist()
    special = vlm.tokenizer.special
    counts = {name: ids.count(special(name)) for name in vlm.tokenizer.specials}
    assert counts == {
        "<pad>": 0,
        "<start>": 1,
        "<end>": 0,
        "<image>": vlm.model.config.image_tokens,
        "<question>": 1,
        "<answer>": 1,
    }
    assert vlm.tokenizer.decode(ids) == f"\n{question}"


# What is refused.


@pytest.mark.parametrize("question", ["", "  ", "\n\t"])
def test_an_empty_question_is_refused(vlm, question):
    with pytest.raises(InputError, match="the question is empty"):
        next(Chat(vlm, picture()).ask(question))


def test_a_question_or_a_conversation_longer_than_the_context_is_refused():
    vlm = lettered(context=60)
    chat = Chat(vlm, picture())
    with pytest.raises(InputError, match="the question is 113 tokens long, more than 59"):
        next(chat.ask("a" * 100))  # and a line's end, nine of the picture, three that are special
    list(chat.ask("what?"))
    turns = list(chat.turns)
    with pytest.raises(InputError, match="more than 59"):
        next(chat.ask("and?"))
    assert chat.turns == turns


# Where its words look.


def answered(text="a red star"):
    return [about_picture("what is it?"), Turn(ASSISTANT, text)]


def test_attention_is_a_share_for_each_word_and_place(vlm):
    seen = vlm.look(picture()[None])
    words, weights = attention_of(vlm, seen, answered())
    assert words == [letter.strip() for letter in "a red star"]
    assert weights.shape == (10, 3, 3)
    assert weights.min() > 0
    assert weights.sum((1, 2)).max() < 1
    _, other = attention_of(vlm, vlm.look(picture(1)[None]), answered())
    assert np.abs(other - weights).max() > 1e-4


def test_a_model_that_looks_everywhere_alike_looks_so_at_the_picture():
    vlm = untrained_vlm(layers=2)
    for block in vlm.model.decoder.blocks:
        block.attn.q.weight.data[:] = 0
    seen = vlm.look(picture()[None])
    turns = [*answered("no"), Turn(USER, "sure?"), Turn(ASSISTANT, "yes")]
    words, weights = attention_of(vlm, seen, turns)
    assert words == ["y", "e", "s"]
    before = len(vlm.prompt(turns[:3]))  # the first word is chosen when so many are read
    expected = 1 / (before + np.arange(3))
    np.testing.assert_allclose(weights, np.broadcast_to(expected[:, None, None], (3, 3, 3)), 1e-5)


def test_attention_is_the_mean_over_blocks_and_heads_at_the_token_before(vlm, monkeypatch):
    turns = answered("ab")
    prompt = vlm.prompt(turns[:1])
    T = len(prompt) + 2
    maps = np.random.default_rng(0).random((3, 1, 2, T, T))  # three blocks, two heads
    monkeypatch.setattr(vlm.model.decoder, "attention_maps", lambda x: list(maps))
    _, weights = attention_of(vlm, vlm.look(picture()[None]), turns)
    first = int(np.flatnonzero(prompt == vlm.model.config.image_token)[0])
    for word in range(2):
        row = maps[:, 0, :, len(prompt) - 1 + word, first : first + 9].mean((0, 1))
        np.testing.assert_allclose(weights[word], row.reshape(3, 3))


def test_attention_is_drawn_into_a_file_a_panel_for_each_word(tmp_path):
    vlm = lettered(context=29)
    chat = Chat(vlm, picture())
    said = "".join(chat.ask("what?"))
    assert len(said) == 11
    chat.write_attention(tmp_path / "attention.png")
    with Image.open(tmp_path / "attention.png") as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > 6 * 150  # six panels in a row
        assert 2 * 150 < drawn.height < drawn.width
        assert (
            len(np.unique(np.asarray(drawn.convert("RGB")), axis=0)) > 100
        )  # colours laid over the noise


def test_an_answer_without_words_has_no_attention_to_draw(vlm, monkeypatch, tmp_path):
    chat = Chat(vlm, picture())
    says(monkeypatch, vlm, "")
    list(chat.ask("what?"))
    with pytest.raises(InputError, match="has no words whose attention could be shown"):
        chat.write_attention(tmp_path / "attention.png")
    assert not (tmp_path / "attention.png").exists()


def test_a_perceivers_soft_words_have_no_place_in_the_picture(tmp_path):
    chat = Chat(lettered(projector="perceiver", context=40), picture())
    assert "".join(chat.ask("what?"))
    with pytest.raises(InputError, match="perceiver's soft words have no place"):
        chat.write_attention(tmp_path / "attention.png")
    assert not (tmp_path / "attention.png").exists()


# Pictures from files.


@pytest.fixture
def files(tmp_path):
    """Pictures of several kinds and sizes."""
    for seed, name in enumerate(("a.png", "b.jpg", "c.webp")):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, (70, 50 + 30 * seed, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return [tmp_path / name for name in ("a.png", "b.jpg", "c.webp")]


def test_a_picture_is_read_as_the_model_sees_it(vlm, files):
    with Image.open(files[0]) as image:
        expected = resize_and_crop(np.asarray(image), 48)
    np.testing.assert_array_equal(read_picture(vlm, files[0]), expected)
    assert read_picture(vlm, files[2]).shape == (48, 48, 3)


def test_each_picture_gets_its_own_caption(vlm, files):
    said = list(captions(vlm, files))
    assert [path for path, _ in said] == files
    for path, words in said:
        assert words == "".join(Chat(vlm, read_picture(vlm, path)).ask(PROMPT))
    assert len({words for _, words in said}) > 1


def test_captions_stop_at_a_bad_picture_and_name_it(vlm, files, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    told = captions(vlm, [files[0], bad, files[1]])
    assert next(told)[0] == files[0]
    with pytest.raises(InputError, match=r"bad\.png: not a JPEG, PNG"):
        next(told)
    with pytest.raises(InputError, match=r"none\.png: No such file"):
        list(captions(vlm, [tmp_path / "none.png"]))

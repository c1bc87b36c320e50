import json

import numpy as np
import pytest

from minivlm.data.chat import ASSISTANT, USER, Turn
from minivlm.data.lessons import about_picture
from minivlm.errors import InputError
from minivlm.recipes.trained_vlm import LONGEST_ANSWER, TrainedVLM, load_settings
from tests.recipes.small import untrained_vlm


def talkative(**changes):
    """A model whose blocks say more than the token that they were given, unlike new ones."""
    vlm = untrained_vlm(**changes)
    for block in vlm.model.decoder.blocks:
        for p in block.parameters():
            p.data *= 5
    return vlm


@pytest.fixture
def vlm():
    return talkative()


@pytest.fixture
def saved(vlm, tmp_path):
    """A run folder in which things can be broken."""
    vlm.save_config(tmp_path)
    vlm.save_weights(tmp_path)
    return tmp_path


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), np.uint8)


QUESTIONS = ["what?", "is there a red star in the image?", "describe the image."]


def test_what_was_saved_is_loaded_again_and_answers_equally(vlm, saved, images):
    again = TrainedVLM.load(saved)
    assert again.settings == vlm.settings == load_settings(saved)
    assert again.model.config == vlm.model.config
    for name, array in vlm.model.state_dict().items():
        assert np.array_equal(array, again.model.state_dict()[name]), name
    answers = again.answers(again.look(images), QUESTIONS)
    assert answers == vlm.answers(vlm.look(images), QUESTIONS)
    assert len(set(answers)) == 3


def test_a_model_of_half_the_bytes_is_loaded_too(vlm, saved):
    full = (saved / "model.safetensors").stat().st_size
    vlm.save_weights(saved, np.float16)
    assert (saved / "model.safetensors").stat().st_size < 0.6 * full
    weight = TrainedVLM.load(saved).model.decoder.tokens.weight.data
    assert weight.dtype == np.float32
    np.testing.assert_allclose(weight, vlm.model.decoder.tokens.weight.data, rtol=1e-3, atol=1e-6)


def test_questions_in_a_batch_are_answered_as_each_by_itself(vlm, images):
    seen = vlm.look(images)
    together = vlm.answers(seen, QUESTIONS)
    for i, question in enumerate(QUESTIONS):
        assert vlm.answers(seen[i : i + 1], [question]) == [together[i]]
        assert "".join(vlm.stream(seen[i : i + 1], [about_picture(question)])) == together[i]
    assert vlm.answers(seen[::-1], QUESTIONS[::-1]) == together[::-1]


def test_the_picture_matters_and_without_one_the_language_model_answers_alone(vlm, images):
    seen = vlm.look(images)
    sees = vlm.answers(seen, ["what?"] * 3)
    assert len(set(sees)) == 3
    blind = vlm.answers(None, ["what?"] * 3)
    assert set(blind) == {"".join(vlm.stream(None, [Turn(USER, "what?")]))}
    assert blind[0] not in sees


def test_pictures_are_looked_at_in_pieces_of_any_number(vlm, images, monkeypatch):
    whole = vlm.look(images)
    assert whole.shape == (3, 9, 16)
    monkeypatch.setattr("minivlm.recipes.trained_vlm.AT_ONCE", 2)
    np.testing.assert_allclose(vlm.look(images), whole, rtol=1e-5, atol=1e-6)
    one, two, three = QUESTIONS
    few = vlm.answers(whole[:2], [one, two]) + vlm.answers(whole[2:], [three])
    assert vlm.answers(whole, QUESTIONS) == few


def saying(vlm, monkeypatch, *texts):
    """Let the model say these texts, whatever it is asked, and go on after the end."""
    said = [vlm.tokenizer.encode(text) + [vlm.end] + [vlm.end + 100] * 9 for text in texts]
    monkeypatch.setattr(vlm, "_generate", lambda *asked: map(np.array, zip(*said, strict=False)))


def test_an_answer_ends_where_the_model_ends_it(vlm, monkeypatch):
    saying(vlm, monkeypatch, "red", "cyan")
    assert vlm.answers(None, ["one?", "other?"]) == ["red", "cyan"]


def test_a_stream_gives_whole_characters_as_soon_as_they_are_complete(vlm, monkeypatch):
    saying(vlm, monkeypatch, "ein ü, 猫")
    tokens = []
    pieces = list(vlm.stream(None, [Turn(USER, "?")], tell=tokens.append))
    assert pieces == [*"ein ü, 猫", ""]
    assert tokens == [*vlm.tokenizer.encode("ein ü, 猫"), vlm.end]


def test_a_character_that_is_never_completed_is_shown_in_the_end(vlm, monkeypatch):
    half = vlm.tokenizer.encode("ü")[:1]
    monkeypatch.setattr(vlm, "_generate", lambda *asked: map(np.array, [half, [vlm.end]]))
    assert "".join(vlm.stream(None, [Turn(USER, "?")])) == "\ufffd"


def test_an_answer_stays_within_the_context(images):
    vlm = talkative(context=40)
    asked = [about_picture("what?")]
    room = 40 - len(vlm.prompt(asked))
    tokens = []
    "".join(vlm.stream(vlm.look(images[:1]), asked, tell=tokens.append))
    assert 0 < len(tokens) <= room < LONGEST_ANSWER


def test_a_question_that_fills_the_context_is_refused(vlm):
    assert len(vlm.prompt([Turn(USER, "c" * 252)])) == 255  # a start, a question, an answer
    with pytest.raises(InputError, match="the question is 256 tokens long, more than 255"):
        vlm.prompt([Turn(USER, "c" * 253)])
    earlier = [Turn(USER, "a"), Turn(ASSISTANT, "b"), Turn(USER, "c" * 248)]
    with pytest.raises(InputError, match="the question is 256 tokens long, more than 255"):
        vlm.prompt(earlier)


def changed(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def shorten(path):
    path.write_bytes(path.read_bytes()[:-100])


def narrow(path):
    model = json.loads(path.read_text())["model"]
    model["projector"]["width"] = 99
    changed(path, model=model)


DAMAGE = {
    "the tokenizer of another model": (
        lambda f: changed(f / "tokenizer.json", specials=["<pad>", "<start>", "<end>"]),
        "tokenizer.json: not the tokenizer of a talking model",
    ),
    "a tokenizer with a token more": (
        lambda f: changed(f / "tokenizer.json", merges=[["a", "b"]]),
        "tokenizer and model differ in their number of tokens",
    ),
    "a tokenizer of another format": (
        lambda f: changed(f / "tokenizer.json", format="other"),
        'tokenizer.json: "format" is not',
    ),
    "a tokenizer that is no JSON": (
        lambda f: shorten(f / "tokenizer.json"),
        r"tokenizer\.json, line \d: not JSON",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json: No such file"),
    "weights cut short": (lambda f: shorten(f / "model.safetensors"), "safetensors: cut short"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "this run is not finished"),
    "no sizes": (lambda f: changed(f / "config.json", model={}), "does not describe a LLaVA"),
    "sizes that do not fit": (lambda f: narrow(f / "config.json"), "width 99 does not fit 16"),
    "no settings": (lambda f: changed(f / "config.json", settings=[]), "is not an object"),
    "settings out of range": (
        lambda f: changed(
            f / "config.json", settings=untrained_vlm().settings.to_json() | {"batch": 0}
        ),
        "batch 0 is not positive",
    ),
    "another kind of run": (
        lambda f: changed(f / "config.json", model_type="minivlm-clip"),
        '"model_type" is \'minivlm-clip\', not "minivlm-llava"',
    ),
    "a list for a config": (lambda f: (f / "config.json").write_text("[]"), "is None, not"),
    "no run": (lambda f: (f / "config.json").unlink(), "not a run folder, it has no config.json"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_is_refused_in_a_sentence(saved, name):
    damage, sentence = DAMAGE[name]
    damage(saved)
    with pytest.raises(InputError, match=sentence):
        TrainedVLM.load(saved)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        TrainedVLM.load(tmp_path / "nowhere")

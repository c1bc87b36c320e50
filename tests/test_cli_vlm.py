"""The commands of talking models as users meet them: what they print, and say of mistakes."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from minivlm.cli import main
from minivlm.data.lessons import PROMPT
from minivlm.errors import InputError
from minivlm.recipes.bench_decode import child, report
from minivlm.recipes.trained_vlm import LONGEST_ANSWER, TrainedVLM
from minivlm.recipes.use_vlm import read_picture
from tests.recipes.scripted import lettered, saved, untrained_towers
from tests.recipes.talks import sample, written
from tests.test_cli import fails

QUESTION = "what is it?"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of models that write letters: one with a short context, one with a long one."""
    folder = tmp_path_factory.mktemp("models")
    saved(lettered(context=32), folder / "short")
    saved(lettered(context=500), folder / "long")
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return untrained_towers(tmp_path_factory.mktemp("runs") / "clip")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def run(*arguments):
    """Run a command that is to succeed."""
    assert main([str(argument) for argument in arguments]) == 0


def answer(folder, picture, question):
    vlm = TrainedVLM.load(folder)
    return vlm.answers(vlm.look(read_picture(vlm, picture)[None]), [question])[0]


# Asking.


def test_ask_prints_the_answer_and_nothing_else(models, picture, capsys):
    run("ask", "--model", models / "long", picture, QUESTION)
    said = capsys.readouterr()
    assert said.out == answer(models / "long", picture, QUESTION) + "\n"
    assert len(said.out) == LONGEST_ANSWER + 1
    assert said.err == ""


def test_ask_at_a_temperature_says_the_same_for_the_same_seed(models, picture, capsys):
    def said(*options):
        run("ask", "--model", models / "long", "--temperature", 1, *options, picture, QUESTION)
        return capsys.readouterr().out

    assert said("--seed", 3) == said("--seed", 3) != said("--seed", 4)
    greedy = answer(models / "long", picture, QUESTION) + "\n"
    assert said("--top-k", 1) == said("--top-p", 1e-9) == greedy
    assert said("--top-k", 1, "--repetition-penalty", 1e9) != greedy


def test_ask_chat_answers_line_by_line_and_passes_over_empty_ones(
    models, picture, capsys, monkeypatch
):
    monkeypatch.setattr(sys, "stdin", io.StringIO("and now?\n\n  \nsure?\n"))
    run("ask", "--model", models / "long", "--chat", picture, QUESTION)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0] == answer(models / "long", picture, QUESTION)
    assert lines[1] != answer(models / "long", picture, "and now?")  # what was said is read, too


def test_ask_chat_needs_no_question_and_prompts_at_a_terminal(models, picture, capsys, monkeypatch):
    terminal = io.StringIO(f"{QUESTION}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    run("ask", "--model", models / "long", "--chat", picture)
    assert capsys.readouterr().out == f"> {answer(models / 'long', picture, QUESTION)}\n> "


def test_ask_chat_ends_with_a_sentence_where_the_context_ends(models, picture, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("and?\nnot read\n"))
    arguments = ("ask", "--model", models / "short", "--chat", picture, "what?")
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert "tokens long, more than 31" in said.err


def test_ctrl_c_at_the_prompt_is_no_traceback(models, picture, capsys, monkeypatch):
    def interrupt(prompt):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupt)
    said = fails(capsys, "ask", "--model", models / "long", "--chat", picture, status=130)
    assert said == "minivlm: interrupted"


def test_ask_draws_where_its_words_look(models, picture, tmp_path, capsys):
    png = tmp_path / "attention.png"
    run("ask", "--model", models / "short", "--show-attention", png, picture, QUESTION)
    said = capsys.readouterr()
    assert said.out == answer(models / "short", picture, QUESTION) + "\n"
    assert said.err.splitlines() == [f"attention of the answer's words: {png}"]
    with Image.open(png) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > 800


def test_caption_prints_each_picture_with_its_words(models, picture, tmp_path, capsys):
    other = tmp_path / "other.png"
    Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(other)
    run("caption", "--model", models / "long", picture, other)
    assert capsys.readouterr().out.splitlines() == [
        f"{path}  {answer(models / 'long', path, PROMPT)}" for path in (picture, other)
    ]


def test_show_labels_prints_conversations_with_their_learnt_tokens(models, tmp_path, capsys):
    run("show-labels", "--model", models / "long", "--count", 2, "scenes")
    plain = capsys.readouterr().out
    assert plain.count("a scene: ") == 2
    assert "⟦<end>⟧" in plain
    assert "\033" not in plain
    path = written(tmp_path, [sample("<image>who?", "me", image="x.png")])
    arguments = ("show-labels", "--model", models / "long", "--color", "always")
    run(*arguments, "--template", "vicuna", path)
    colored = capsys.readouterr().out
    assert "\033[1;32mm\033[0m·\033[1;32me\033[0m·\033[1;32m<end>\033[0m" in colored
    assert "⟦" not in colored.split("\n", 1)[1]


# Mistakes in asking.


def test_ask_without_a_question_says_what_to_give(models, picture, capsys):
    said = fails(capsys, "ask", "--model", models / "long", picture)
    assert said == "minivlm: give a question, or --chat to be asked for one"


@pytest.mark.parametrize("command", ["ask", "caption", "show-labels"])
def test_a_folder_without_a_talking_model_is_named(
    models, clip, picture, tmp_path, capsys, command
):
    def said(folder):
        words = [QUESTION] if command == "ask" else []
        return fails(capsys, command, "--model", folder, picture, *words)

    assert "none: no such folder" in said(tmp_path / "none")
    assert "not a run folder, it has no config.json" in said(tmp_path)
    assert 'config.json: "model_type" is \'minivlm-clip\', not "minivlm-llava"' in said(clip)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (unfinished / name).write_bytes((models / "short" / name).read_bytes())
    assert "this run is not finished; go on with minivlm train vlm" in said(unfinished)
    weights = (models / "short" / "model.safetensors").read_bytes()
    (unfinished / "model.safetensors").write_bytes(weights[:-9])
    assert "model.safetensors: cut short" in said(unfinished)
    (unfinished / "config.json").write_text('{"model_type": "minivlm-llava"}')
    assert 'config.json: "settings" is not an object' in said(unfinished)
    (unfinished / "config.json").write_text("{\n}}")
    assert "config.json, line 2: not JSON" in said(unfinished)


def test_a_picture_that_is_none_is_named(models, tmp_path, capsys):
    (tmp_path / "bad.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    png = tmp_path / "attention.png"
    for name, sentence in (
        ("bad.png", "bad.png: not a JPEG, PNG, WebP, GIF or BMP picture"),
        ("empty.png", "empty.png: the file is empty"),
        ("none.png", "none.png: No such file"),
    ):
        arguments = ("ask", "--model", models / "long", "--show-attention", png)
        assert sentence in fails(capsys, *arguments, tmp_path / name, QUESTION)
        assert sentence in fails(capsys, "caption", "--model", models / "long", tmp_path / name)
    assert not png.exists()


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("", "the question is empty"),
        (" \t", "the question is empty"),
        ("a" * 600, "the question is 613 tokens long, more than 499"),
    ],
)
def test_a_question_that_cannot_be_asked_is_said(
    models, picture, tmp_path, capsys, question, sentence
):
    png = tmp_path / "attention.png"
    arguments = ("ask", "--model", models / "long", "--show-attention", png, picture)
    assert sentence in fails(capsys, *arguments, question)
    assert not png.exists()


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--temperature=-1", "temperature -1.0"),
        ("--temperature=nan", "temperature nan"),
        ("--top-k=-1", "top_k -1"),
        ("--top-p=0", "top_p 0.0 is not in (0, 1]"),
        ("--top-p=1.5", "top_p 1.5 is not in (0, 1]"),
        ("--repetition-penalty=0", "repetition_penalty 0.0 is not positive"),
        ("--repetition-penalty=nan", "repetition_penalty nan is not positive"),
    ],
)
def test_a_sampling_value_out_of_its_range_is_said(models, picture, capsys, option, sentence):
    assert sentence in fails(capsys, "ask", "--model", models / "long", option, picture, QUESTION)


def test_a_seed_below_0_is_said(models, picture, capsys):
    arguments = ("ask", "--model", models / "long", "--temperature=1", "--seed=-1")
    assert "seed -1" in fails(capsys, *arguments, picture, QUESTION)


def test_attention_that_cannot_be_drawn_or_written_is_said(models, picture, tmp_path, capsys):
    perceiver = saved(lettered(projector="perceiver", context=48), tmp_path / "perceiver")
    png = tmp_path / "attention.png"
    arguments = ("ask", "--model", perceiver, "--show-attention", png, picture, QUESTION)
    assert "a perceiver's soft words have no place" in fails(capsys, *arguments)
    assert not png.exists()
    far = tmp_path / "none" / "attention.png"
    arguments = ("ask", "--model", models / "short", "--show-attention", far, picture, QUESTION)
    assert "No such file or directory" in fails(capsys, *arguments)
    assert not far.parent.exists()


def test_captions_before_a_bad_picture_are_printed(models, picture, tmp_path, capsys):
    (tmp_path / "bad.png").write_text("no picture")
    arguments = ["caption", "--model", models / "long", picture, tmp_path / "bad.png", picture]
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"{picture}  {answer(models / 'long', picture, PROMPT)}"]
    assert said.err.startswith(f"minivlm: {tmp_path / 'bad.png'}: not a JPEG")
    assert said.err.count("\n") == 1


# Mistakes in measuring, in a demo, and in looking at labels.


def test_eval_of_more_things_than_fit_is_said_and_writes_nothing(models, capsys):
    for things in (9, 5, 0, -1):
        said = fails(capsys, "eval", "vlm", models / "long", "--things", things)
        assert said == f"minivlm: things {things} is not in 1..4"
    assert not (models / "long" / "scores.json").exists()


def test_eval_of_what_is_no_talking_model_is_said(clip, tmp_path, capsys):
    assert "no such folder" in fails(capsys, "eval", "vlm", tmp_path / "none")
    assert "\"model_type\" is 'minivlm-clip'" in fails(capsys, "eval", "vlm", clip)
    assert not (clip / "scores.json").exists()


@pytest.mark.parametrize("command", ["demo", "pretrain"])
def test_a_demo_with_a_bad_seed_or_folder_is_said(tmp_path, capsys, command):
    out = tmp_path / "out"
    assert "seed -1 is not in 0..999999" in fails(capsys, command, "--seed=-1", "--out", out)
    assert not out.exists()
    out.write_text("a file")
    assert "cannot be a run folder" in fails(capsys, command, "--out", out)
    assert out.read_text() == "a file"


def test_a_count_of_labels_that_is_none_is_said(models, capsys):
    for count in (0, -1):
        said = fails(capsys, "show-labels", "--model", models / "long", "--count", count, "scenes")
        assert said == f"minivlm: --count {count} is not positive"


# The clock.


def test_the_decoding_report_shows_both_their_ratio_and_whether_they_agree():
    sizes = {
        "small": {"minivlm": 0.001, "transformers": 0.004, "same": True},
        "large": {"minivlm": 0.03, "transformers": 0.02, "same": False},
    }
    *_, header, small, large = report({"sizes": sizes, "repeats": 5, "version": "5.0"}).splitlines()
    assert header.split() == ["minivlm", "transformers", "5.0", "ratio", "same", "text"]
    assert small.split() == ["small", "1.000", "4.000", "0.25", "yes"]
    assert large.split() == ["large", "30.000", "20.000", "1.50", "NO"]


def test_a_number_of_repeats_that_is_none_is_said(capsys):
    assert "--repeats 0 is not positive" in fails(capsys, "bench", "decode", "--repeats", 0)


def test_decoding_without_transformers_says_what_to_install(monkeypatch):
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "minivlm.recipes.bench_llama", raising=False)
    with pytest.raises(InputError, match=r"pip install \"minivlm\[reference\]\""):
        child("time", 1)


def test_help_names_the_commands_of_talking_models(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    listed = {line.split()[0] for line in printed.splitlines() if line.startswith("    ")}
    assert {"demo", "pretrain", "ask", "caption", "show-labels"} <= listed

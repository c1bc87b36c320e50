"""`minivlm train vlm` as users meet it, above all where their data is not as it should be."""

import json

import numpy as np
import pytest

from minivlm.cli import main
from minivlm.files import read_json
from minivlm.recipes.vlm_settings import SIZES
from tests.recipes.scripted import lettered, saved, untrained_towers
from tests.recipes.small import SMALL_VLM
from tests.recipes.talks import about_color, colored, sample
from tests.test_cli import fails

QUICK = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL_VLM.items()]
FROM_START = [option for option in QUICK if option[2:].split("=")[0].replace("-", "_") not in SIZES]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return untrained_towers(tmp_path_factory.mktemp("runs") / "clip")


@pytest.fixture(scope="module")
def talking(tmp_path_factory):
    """The run folder of a model that writes letters."""
    return saved(lettered(context=500), tmp_path_factory.mktemp("models") / "talking")


def run(*arguments):
    """Run a command that is to succeed."""
    assert main([str(argument) for argument in arguments]) == 0


def train(capsys, tmp_path, *options, data="scenes", quick=QUICK):
    """What `train vlm` says on its way to failing, and leaves nothing behind."""
    out = tmp_path / "run"
    said = fails(capsys, "train", "vlm", "--data", data, "--out", out, *quick, *options)
    assert not out.exists()
    return said


def test_training_needs_an_eye_or_a_model_to_start_from(clip, talking, tmp_path, capsys):
    sentence = "give either --clip, whose eye is to learn to talk, or --start"
    assert sentence in train(capsys, tmp_path)
    both = ("--clip", clip, "--start", talking)
    assert sentence in train(capsys, tmp_path, *both, quick=FROM_START)


def test_a_model_to_start_from_keeps_its_sizes(talking, tmp_path, capsys):
    start = ("--start", talking)
    for option in ("--width=32", "--context=99", "--projector=linear", "--vision-layer=-1"):
        said = train(capsys, tmp_path, *start, option, quick=FROM_START)
        name = option.split("=")[0]
        assert said == f"minivlm: {name} cannot be chosen with --start, whose model has its own"
    path, out = colored(tmp_path / "data", 10), tmp_path / "run"
    run("train", "vlm", "--data", path, *start, "--out", out, *FROM_START)
    there, here = (read_json(f / "config.json") for f in (talking, out))
    assert here["model"] == there["model"]
    assert all(here["settings"][name] == there["settings"][name] for name in SIZES)


def test_an_eye_or_a_start_of_the_wrong_kind_is_named(clip, talking, tmp_path, capsys):
    assert "none: no such folder" in train(capsys, tmp_path, "--clip", tmp_path / "none")
    assert "none: no such folder" in train(capsys, tmp_path, "--start", tmp_path / "none")
    said = train(capsys, tmp_path, "--clip", talking)
    assert '"model_type" is \'minivlm-llava\', not "minivlm-clip"' in said
    assert "\"model_type\" is 'minivlm-clip'" in train(capsys, tmp_path, "--start", clip)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--things=9", "things 9 is not in 1..4"),
        ("--batch=0", "batch 0 is not positive"),
        ("--reading-steps=-1", "reading-steps -1 is negative"),
        ("--instruction-lr=nan", "instruction-lr nan is not positive"),
        ("--seed=1000000", "seed 1000000 is not in 0..999999"),
        ("--width=0", "width 0 is not positive"),
        ("--heads=3", "width 16 is not a multiple of heads 3"),
        ("--shuffle=2", "2×2 patches do not tile a grid of side 3"),
        ("--vision-layer=-9", "vision layer -9 is not in -2..-1"),
        ("--vocabulary=100", "a vocabulary of 100 is smaller than 262"),
        ("--lora=17", "lora 17 is more than the width 16"),
        ("--context=12", "nothing to learn, the first answer is beyond 12 tokens"),
    ],
)
def test_a_training_option_out_of_its_range_is_said(clip, tmp_path, capsys, option, sentence):
    assert sentence in train(capsys, tmp_path, "--clip", clip, option)


def test_an_unknown_projector_exits_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "vlm", "--data", "scenes", "--projector", "magic"])
    assert stop.value.code == 2
    assert "magic" in capsys.readouterr().err


TALK = about_color(0, "red")
TURN = {"from": "human", "value": "<image>?"}
LONG = "".join(chr(97 + letter) for letter in np.random.default_rng(0).integers(26, size=900))
FILES = {
    "no JSON": ("a picture of a cat", "line 1: not JSON"),
    "a table": ("image,caption\n0.png,a cat\n", "line 1: not JSON"),
    "a comma too few": (
        f"[{json.dumps(TALK)}\n{json.dumps(TALK)}]",
        "line 2: not JSON: no comma between samples",
    ),
    "a bracket too few": (json.dumps([TALK]).replace("]", "", 1), "line 1: not JSON"),
    "no end": (json.dumps([TALK])[:-1], "not JSON: the list has no end"),
    "nothing": ("", "no conversation is about a picture"),
    "an empty list": ("[]", "no conversation is about a picture"),
    "numbers": ("[\n1]", "line 2: a sample is not an object"),
    "COCO's format": (
        '{"images": [],\n"annotations": []}',
        '1: "conversations" is missing or empty',
    ),
    "no turns": ('[{"conversations": []}]', 'line 1: "conversations" is missing or empty'),
    "the assistant first": (
        json.dumps([TALK, {"conversations": [TURN | {"from": "gpt"}]}], indent=0),
        "turn 1 is from 'gpt', not \"human\"",
    ),
    "OpenAI's roles": (
        json.dumps([{"conversations": [{"role": "user", "content": "hi"}]}]),
        'line 1: turn 1 is from None, not "human"',
    ),
    "a number for a text": (
        json.dumps([{"conversations": [TURN | {"value": 5}]}]),
        'line 1: turn 1 has no "value"',
    ),
    "a number for a picture": (json.dumps([TALK | {"image": 3}]), 'line 1: "image" is neither'),
    "no such picture": (
        json.dumps([TALK, TALK | {"image": "x.png"}]).replace(", {", ",\n{", 1),
        'no file "x.png" in the folder',
    ),
    "a picture elsewhere": (json.dumps([TALK | {"image": "../a.png"}]), "leads out of the folder"),
    "no place for a picture": (
        json.dumps([sample("what?", "red", image="0.png")]),
        "line 1: 0 <image> in the text, 1 pictures",
    ),
    "no answer": (json.dumps([sample("<image>?", image="0.png")]), "line 1: nothing to learn"),
    "a question too long": (
        json.dumps([sample(f"<image>{LONG}", "b", image="0.png")]),
        "line 1: nothing to learn, the first answer is beyond 256 tokens",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_llavas_is_named_with_its_line(clip, tmp_path, capsys, name):
    content, sentence = FILES[name]
    path = colored(tmp_path / "data", 1)
    path.write_text(content, encoding="utf-8")
    said = train(capsys, tmp_path, "--clip", clip, data=path)
    assert said.startswith(f"minivlm: {path}")
    assert sentence in said


def test_a_file_that_is_missing_or_no_text_is_named(clip, talking, tmp_path, capsys):
    path = tmp_path / "talks.json"
    for content, sentence in ((None, "No such file"), (b"[\xff]", "not UTF-8 text")):
        if content is not None:
            path.write_bytes(content)
        assert f"talks.json: {sentence}" in train(capsys, tmp_path, "--clip", clip, data=path)
        said = fails(capsys, "show-labels", "--model", talking, path)
        assert f"talks.json: {sentence}" in said


@pytest.mark.parametrize("name", ["no JSON", "numbers", "the assistant first", "no answer"])
def test_labels_of_a_bad_file_are_named_with_its_line(talking, tmp_path, capsys, name):
    content, sentence = FILES[name]
    path = tmp_path / "talks.json"
    path.write_text(content, encoding="utf-8")
    said = fails(capsys, "show-labels", "--model", talking, "--count=9", path)
    assert said.startswith(f"minivlm: {path}")
    assert sentence in said


def test_a_learning_rate_is_a_number_with_a_point(clip, tmp_path, capsys):
    rates = ("--reading-lr=0.005", "--alignment-lr=1e-3", "--instruction-lr=-0.25")
    said = train(capsys, tmp_path, "--clip", clip, *rates)
    assert said == "minivlm: instruction-lr -0.25 is not positive"


def test_a_users_own_conversations_are_learnt_and_measured(clip, tmp_path, capsys):
    path, out = colored(tmp_path / "data", 20), tmp_path / "run"
    run("train", "vlm", "--data", path, "--clip", clip, "--out", out, *QUICK)
    printed = capsys.readouterr().out
    for words in (
        "Stage 0, ",
        "Stage 1, ",
        "Stage 2, ",
        "perplexity of held-out answers",
        " of 2\n",
    ):
        assert words in printed
    assert printed.count("expected: ") == printed.count("answered: ") == 2
    scores = read_json(out / "scores.json")
    assert f"perplexity of held-out answers: {scores['perplexity']:.3f}" in printed
    run("eval", "vlm", out)
    assert capsys.readouterr().out.strip() in printed
    assert "this run is finished" in fails(
        capsys, "train", "vlm", "--data", path, "--clip", clip, "--out", out, *QUICK
    )


def test_a_few_conversations_are_learnt_from_though_none_can_be_held_out(clip, tmp_path, capsys):
    path, out = colored(tmp_path / "data", 5), tmp_path / "run"
    run("train", "vlm", "--data", path, "--clip", clip, "--out", out, *QUICK)
    assert (out / "model.safetensors").exists()
    assert "Stage 2, " in capsys.readouterr().out
    assert "too few conversations to hold one out" in fails(capsys, "eval", "vlm", out)

import json
from dataclasses import replace

import numpy as np
import pytest

from minivlm.cli import main
from minivlm.data.chat import IMAGE
from minivlm.data.lessons import PROMPT
from minivlm.errors import InputError
from minivlm.files import read_json
from minivlm.recipes.lessons import SHOWN, shown_scenes
from minivlm.recipes.settings import ClipSettings
from minivlm.recipes.train_clip import train_clip
from minivlm.recipes.train_vlm import begin, parts, train_vlm
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.recipes.trained_vlm import SPECIALS, TrainedVLM
from minivlm.tensorfile import read_arrays
from minivlm.train.saving import MODEL, with_prefix
from tests.recipes.runs import losses, quiet, same, same_run, weights
from tests.recipes.small import SMALL
from tests.recipes.talks import about_color, colored, sample, written

FILES = {
    *("config.json", "tokenizer.json", "model.safetensors", "captions-1.json", "captions-2.json"),
    *(f"stage-{n}.{kind}" for n in range(3) for kind in ("jsonl", "safetensors")),
}

MOVES = (["decoder"], ["projector"], ["projector", "decoder"])


@pytest.fixture(scope="module")
def run(small_vlm, tmp_path_factory):
    """A finished run's folder, what it returned and what it said."""
    folder, said = tmp_path_factory.mktemp("vlm") / "run", []
    return folder, train_vlm(small_vlm, folder, said.append), said


@pytest.fixture(scope="module")
def by_lora(small_vlm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora") / "run"
    return folder, train_vlm(replace(small_vlm, lora=2), folder, quiet)


def test_a_run_leaves_a_model_with_a_log_a_checkpoint_and_captions_of_each_stage(run, small_vlm):
    folder, vlm, said = run
    assert {path.name for path in folder.iterdir()} == FILES | {".lock"}
    assert [len(stage) for stage in losses(folder)] == [3, 3, 5]
    for number, steps in enumerate(small_vlm.steps):
        arrays, words = read_arrays(folder / f"stage-{number}.safetensors")
        assert words["step"] == str(steps)
        assert with_prefix(arrays, MODEL).keys() == vlm.model.state_dict().keys()
    assert same(with_prefix(weights(folder, "stage-2.safetensors"), MODEL), weights(folder))
    seen = vlm.look(shown_scenes(small_vlm.things, 48)[1])
    last = read_json(folder / "captions-2.json")
    assert last == vlm.answers(seen, [PROMPT] * SHOWN)
    assert len(read_json(folder / "captions-1.json")) == SHOWN
    assert said[-1] == f"What it says of a picture now: {last[0]}"
    words = "\n".join(said)
    assert f"Stage 1, alignment: only the projector ({vlm.model.projector.size():,} para" in words
    assert "Stage 0, reading: the language model" in words
    assert "Stage 2, instruction: projector and language model" in words


def test_the_eye_is_that_of_the_two_towers_to_the_last_bit(run, clip_run):
    folder, _, _ = run
    towers = with_prefix(weights(clip_run), "vision.")
    assert same(with_prefix(weights(folder), "vision."), towers)


def test_each_stage_moves_its_own_weights_and_begins_where_the_last_one_ended(run, small_vlm):
    folder, _, _ = run
    begun = begin(small_vlm)[0].model.state_dict()
    after = [with_prefix(weights(folder, f"stage-{n}.safetensors"), MODEL) for n in range(3)]
    for before, now, moves in zip([begun, *after[:2]], after, MOVES, strict=True):
        moved = {name for name in now if not np.array_equal(before[name], now[name])}
        assert moved == {name for name in now if name.split(".")[0] in moves}


def test_what_was_trained_is_loaded_again_and_answers_equally(run):
    folder, vlm, _ = run
    again = TrainedVLM.load(folder)
    assert again.settings == vlm.settings
    assert again.model.config == vlm.model.config
    assert same(again.model.state_dict(), vlm.model.state_dict())
    text = "a striped ring, ünd more"
    assert again.tokenizer.encode(text) == vlm.tokenizer.encode(text)
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), np.uint8)
    questions = ["what is it?", "is there a red star in the image?", PROMPT]
    said = [model.answers(model.look(images), questions) for model in (vlm, again)]
    assert said[0] == said[1]


def test_the_same_settings_give_the_same_bits_and_another_seed_gives_others(
    run, small_vlm, tmp_path
):
    folder, _, _ = run
    train_vlm(small_vlm, tmp_path / "again", quiet)
    assert same_run(folder, tmp_path / "again")
    train_vlm(replace(small_vlm, seed=1), tmp_path / "other", quiet)
    assert not same_run(folder, tmp_path / "other")


def test_threads_share_the_work_and_change_it_only_by_rounding(run, small_vlm, tmp_path):
    folder, _, _ = run
    train_vlm(replace(small_vlm, threads=1), tmp_path / "one", quiet)
    for one, two in zip(losses(tmp_path / "one"), losses(folder), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4)


def test_a_longer_run_learns_from_texts_and_then_from_pictures(small_vlm, tmp_path):
    settings = replace(small_vlm, reading_steps=40, instruction_steps=80)
    train_vlm(settings, tmp_path / "run", quiet)
    reading, _, instruction = losses(tmp_path / "run")
    assert np.mean(reading[-5:]) < 0.9 * np.mean(reading[:5])
    assert np.mean(instruction[-5:]) < 0.8 * np.mean(reading[:5])


# Low-rank detours.


def test_an_adapter_holds_just_the_detours_and_the_projector(by_lora, small_vlm):
    folder, vlm = by_lora
    arrays, words = read_arrays(folder / "adapter.safetensors")
    projector = {f"projector.{name}" for name in vlm.model.projector.named_parameters()}
    places = [*(f"attn.{n}" for n in ("q", "k", "v", "out")), "mlp.gate", "mlp.up", "mlp.down"]
    detours = {f"decoder.blocks.0.{place}.{half}" for place in places for half in ("down", "up")}
    assert arrays.keys() == projector | detours
    assert words == {"rank": "2", "alpha": str(small_vlm.lora_alpha)}
    assert all(arrays[name].any() for name in detours)
    assert (folder / "adapter.safetensors").stat().st_size < 0.5 * (
        folder / "model.safetensors"
    ).stat().st_size


def test_the_weights_of_stage_1_and_the_adapter_merge_into_exactly_the_model(by_lora):
    folder, _ = by_lora
    adapter, words = read_arrays(folder / "adapter.safetensors")
    stage_1 = with_prefix(weights(folder, "stage-1.safetensors"), MODEL)
    scale = float(words["alpha"]) / int(words["rank"])
    merged = stage_1 | {n: array for n, array in adapter.items() if n.startswith("projector.")}
    for place in (name.removesuffix(".up") for name in adapter if name.endswith(".up")):
        up, down = (np.array(adapter[f"{place}.{half}"]) for half in ("up", "down"))
        merged[f"{place}.weight"] = stage_1[f"{place}.weight"] + up @ down * scale
    assert same(merged, weights(folder))
    assert not same(stage_1, merged)


def test_a_merged_model_has_plain_names_and_needs_no_adapter(by_lora, run, tmp_path):
    folder, vlm = by_lora
    assert weights(folder).keys() == weights(run[0]).keys()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert same(TrainedVLM.load(tmp_path).model.state_dict(), vlm.model.state_dict())


# Going on from another run.


def test_a_talking_model_is_what_another_run_may_start_from(run, small_vlm, tmp_path):
    first, before, _ = run
    settings = replace(small_vlm, clip="", start=str(first), reading_steps=0, seed=5)
    vlm = train_vlm(settings, tmp_path / "run", quiet)
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == FILES - {"stage-0.jsonl", "stage-0.safetensors"} | {".lock"}
    assert vlm.tokenizer.merges == before.tokenizer.merges
    assert TrainedVLM.load(tmp_path / "run").settings == settings
    old, new = weights(first), weights(tmp_path / "run")
    assert same(with_prefix(old, "vision."), with_prefix(new, "vision."))
    assert not np.array_equal(old["decoder.tokens.weight"], new["decoder.tokens.weight"])
    begun = begin(settings)[0].model.state_dict()
    assert same(begun, old)


# A user's own conversations.


def test_a_file_of_conversations_is_learnt_pictures_or_none(small_vlm, tmp_path):
    path = colored(tmp_path / "data", 24)
    samples = json.loads(path.read_text())
    samples += [
        sample(f"{IMAGE} and {IMAGE}: alike?", "no", image=["0.png", "1.png"]),
        sample("hello", "hi"),
    ]
    written(path.parent, samples)
    settings = replace(small_vlm, data=str(path), instruction_steps=60, batch=12)
    said = []
    vlm = train_vlm(settings, tmp_path / "run", said.append)
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES | {".lock"}
    instruction = losses(tmp_path / "run")[2]
    assert np.mean(instruction[-5:]) < 0.8 * np.mean(instruction[:5])
    assert len(read_json(tmp_path / "run" / "captions-2.json")) == 2  # of those held out
    assert TrainedVLM.load(tmp_path / "run").settings == settings
    assert vlm.tokenizer.vocab_size > len(SPECIALS) + 256


def test_bad_conversations_stop_a_run_or_are_left_out_and_told(small_vlm, tmp_path):
    path = colored(tmp_path / "data")
    samples = [*json.loads(path.read_text()), about_color("none", "red")]
    written(path.parent, samples)
    settings = replace(small_vlm, data=str(path))
    with pytest.raises(InputError, match=r'talks\.json, line \d+: no file "none\.png" in'):
        train_vlm(settings, tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()
    said = []
    train_vlm(replace(settings, skip_bad=True), tmp_path / "run", said.append)
    assert said[0].startswith("left out: ")
    assert 'no file "none.png"' in said[0]
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_batch_is_read_in_parts_in_which_each_text_keeps_its_own_pictures(small_vlm, tmp_path):
    path = colored(tmp_path / "data", 9)
    long = "of the colours, " * 3
    several = sample(f"{IMAGE}{long}{IMAGE}?", "4 8", image=["4.png", "8.png"])
    samples = [sample(f"{IMAGE}{long * (9 - i)}", f"{i}", image=f"{i}.png") for i in range(9)]
    written(path.parent, [*samples, sample("none?", "none"), several])
    vlm, lessons = begin(replace(small_vlm, data=str(path), threads=3))
    talks = [*lessons.talks, *lessons.held_out]
    rows = {
        name: row
        for talk in talks
        for name, row in zip(talk.conversation.images, talk.pictures, strict=True)
    }
    features = np.arange(9.0)[:, None, None] * np.ones((1, 9, 16))  # each is its number, all over
    made = parts(vlm, talks, features)
    assert len(made) == 3
    read = []
    for part in made:
        seen = iter([] if part.seen is None else part.seen)
        for ids, labels in zip(part.ids, part.labels, strict=True):
            pictures = np.count_nonzero(ids == vlm.model.config.image_token) // 9
            learnt = vlm.tokenizer.decode(labels[labels >= 0])
            read.append((learnt, [int(next(seen).flat[0]) for _ in range(pictures)]))
        assert next(seen, None) is None
    expected = [(f"{i}", [rows[f"{i}.png"]]) for i in range(9)]
    expected += [("none", []), ("4 8", [rows["4.png"], rows["8.png"]])]
    assert sorted(read) == sorted(expected)


# What is refused.


def test_a_finished_run_or_one_with_other_settings_is_refused(run, small_vlm):
    folder, _, _ = run
    with pytest.raises(InputError, match=r"run is finished; see it with: minivlm eval vlm .*run"):
        train_vlm(small_vlm, folder, quiet)
    with pytest.raises(InputError, match=r"other settings \(width 16 there, 32 here\); use anoth"):
        train_vlm(replace(small_vlm, width=32), folder, quiet)


def test_a_folder_of_the_other_kind_is_refused(run, clip_run, small_vlm, tmp_path):
    folder, _, _ = run
    towers = ClipSettings("scenes", **SMALL)
    for mistake in (
        lambda: TrainedVLM.load(clip_run),
        lambda: train_vlm(small_vlm, clip_run, quiet),
        lambda: train_vlm(
            replace(small_vlm, clip="", start=str(clip_run)), tmp_path / "run", quiet
        ),
    ):
        with pytest.raises(
            InputError, match='"model_type" is \'minivlm-clip\', not "minivlm-llava'
        ):
            mistake()
    for mistake in (
        lambda: TrainedCLIP.load(folder),
        lambda: train_clip(towers, folder, quiet),
        lambda: train_vlm(replace(small_vlm, clip=str(folder)), tmp_path / "run", quiet),
    ):
        with pytest.raises(
            InputError, match='"model_type" is \'minivlm-llava\', not "minivlm-clip"'
        ):
            mistake()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"clip": "nowhere"}, "nowhere: no such folder"),
        ({"width": 18, "heads": 4}, "decoder width 18 is not a multiple of heads 4"),
        ({"shuffle": 2}, "2×2 patches do not tile a grid of side 3"),
        ({"vision_layer": -3}, r"vision layer -3 is not in -2\.\.-1"),
        ({"vocabulary": 200}, "a vocabulary of 200 is smaller than 262"),
        ({"lora": 17}, "lora 17 is more than the width 16"),
        ({"context": 8}, "a scene: nothing to learn, the first answer is beyond 8 tokens"),
        ({"context": 12, "reading_steps": 0}, "a scene: nothing to learn, .* beyond 12 tokens"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is_written(
    small_vlm, tmp_path, change, sentence
):
    with pytest.raises(InputError, match=sentence):
        train_vlm(replace(small_vlm, **change), tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(small_vlm, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"not empty and no run, it has thesis\.txt"):
        train_vlm(small_vlm, tmp_path, quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("given", [[], ["--clip=a", "--start=b"]])
def test_the_command_needs_an_eye_or_a_start_and_not_both(tmp_path, capsys, given):
    out = tmp_path / "run"
    assert main(["train", "vlm", "--data=scenes", *given, f"--out={out}"]) == 2
    said = capsys.readouterr().err
    assert said == "minivlm: give either --clip, whose eye is to learn to talk, or --start\n"
    assert not out.exists()

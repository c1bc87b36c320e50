"""A talking model's training may end at any moment; the same command goes on from there."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace

import pytest

from minivlm.errors import InputError
from minivlm.recipes import train_vlm as recipe
from minivlm.recipes.train_vlm import train_vlm
from minivlm.recipes.trained_vlm import TrainedVLM
from minivlm.tensorfile import read_arrays
from minivlm.train.run import Interrupted, run_folder
from tests.recipes.runs import losses, press_ctrl_c, quiet, same, same_run, weights


@pytest.fixture(scope="module")
def run(small_vlm, tmp_path_factory):
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train_vlm(small_vlm, folder, quiet)
    return folder


@pytest.fixture(scope="module")
def longer(small_vlm):
    """Long enough to be stopped from outside."""
    return replace(small_vlm, reading_steps=40, alignment_steps=80, instruction_steps=80)


@pytest.fixture(scope="module")
def longer_run(longer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("longer") / "run"
    train_vlm(longer, folder, quiet)
    return folder


def command(settings, folder):
    """The command line that asks for these settings."""
    given = [
        f"--{field.name.replace('_', '-')}={value}"
        for field in fields(settings)
        if (value := getattr(settings, field.name)) != field.default
    ]
    return [sys.executable, "-m", "minivlm", "train", "vlm", *given, f"--out={folder}"]


def when(folder, stage, steps, process):
    """Wait until a process has taken so many steps of a stage."""
    while len(losses(folder)[stage]) < steps:
        assert process.poll() is None, "ended too early"
        time.sleep(0.005)


def test_a_run_killed_in_the_middle_of_its_stages_goes_on_to_the_same_bits(
    longer, longer_run, tmp_path
):
    folder = tmp_path / "killed"
    for stage, steps in ((0, 17), (2, 9)):
        process = subprocess.Popen(
            command(longer, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        when(folder, stage, steps, process)
        process.kill()
        process.wait()
        read_arrays(folder / f"stage-{stage}.safetensors")
        with pytest.raises(InputError, match="not finished; go on with minivlm train vlm"):
            TrainedVLM.load(folder)
    train_vlm(longer, folder, quiet)
    assert same_run(folder, longer_run)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_finishes_the_step_saves_exits_130_and_the_same_command_goes_on(
    longer, longer_run, tmp_path
):
    folder = tmp_path / "stopped"
    for stage in (1, 2):
        process = subprocess.Popen(
            command(longer, folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        when(folder, stage, 3, process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        done = len(losses(folder)[stage])
        assert process.returncode == 130
        assert f"stopped in stage {stage} after step {done} of 80; the same command" in said
        assert "Traceback" not in said
        _, words = read_arrays(folder / f"stage-{stage}.safetensors")
        assert words["step"] == str(done)
    train_vlm(longer, folder, quiet)
    assert same_run(folder, longer_run)


@pytest.mark.parametrize(
    ("stage", "step", "files"),
    [
        (0, 1, {"stage-0"}),
        (0, 2, {"stage-0"}),
        (1, 0, {"stage-0", "stage-1"}),
        (1, 2, {"stage-0", "stage-1"}),
        (2, 4, {"stage-0", "stage-1", "captions-1", "stage-2"}),
    ],
)
def test_a_stop_in_the_first_or_last_step_of_a_stage_is_a_stop(
    run, small_vlm, tmp_path, monkeypatch, stage, step, files
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        press_ctrl_c(patched, stage, step)
        sentence = f"stopped in stage {stage} after step {step + 1} of {small_vlm.steps[stage]}"
        with pytest.raises(Interrupted, match=sentence):
            train_vlm(small_vlm, folder, quiet)
    assert {path.stem for path in folder.iterdir()} == files | {"config", "tokenizer", ".lock"}
    said = []
    train_vlm(small_vlm, folder, said.append)
    assert same_run(folder, run)
    going_on = f"Going on from step {step + 1} of {small_vlm.steps[stage]}."
    assert (going_on in said) == (step + 1 < small_vlm.steps[stage])


@pytest.mark.parametrize("name", ["captions-1.json", "captions-2.json"])
def test_a_run_killed_before_it_wrote_what_it_says_writes_it_later(
    run, small_vlm, tmp_path, monkeypatch, name
):
    folder, write_json = tmp_path / "run", recipe.write_json

    def killed(path, value):
        if path.name == name:
            raise KeyboardInterrupt
        write_json(path, value)

    with monkeypatch.context() as patched:
        patched.setattr(recipe, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            train_vlm(small_vlm, folder, quiet)
    assert not (folder / name).exists()
    train_vlm(small_vlm, folder, quiet)
    assert same_run(folder, run)


def test_a_run_by_lora_goes_on_to_the_same_bits_too(small_vlm, tmp_path, monkeypatch):
    settings = replace(small_vlm, lora=2)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train_vlm(settings, whole, quiet)
    with monkeypatch.context() as patched:
        press_ctrl_c(patched, 2, 1)
        with pytest.raises(Interrupted, match="stopped in stage 2 after step 2 of 5"):
            train_vlm(settings, stopped, quiet)
    train_vlm(settings, stopped, quiet)
    assert same_run(stopped, whole)
    adapters = [weights(folder, "adapter.safetensors") for folder in (stopped, whole)]
    assert same(*adapters)


@pytest.fixture
def unfinished(small_vlm, tmp_path, monkeypatch):
    """A run that was stopped in stage 1."""
    with monkeypatch.context() as patched:
        press_ctrl_c(patched, 1, 1)
        with pytest.raises(Interrupted):
            train_vlm(small_vlm, tmp_path / "unfinished", quiet)
    return tmp_path / "unfinished"


def test_an_unfinished_run_is_no_model_to_start_from(small_vlm, unfinished, tmp_path):
    settings = replace(small_vlm, clip="", start=str(unfinished))
    with pytest.raises(InputError, match="run is not finished; go on with minivlm train vlm"):
        train_vlm(settings, tmp_path / "next", quiet)
    assert not (tmp_path / "next").exists()


def test_an_unfinished_run_goes_on_only_with_its_own_settings(small_vlm, unfinished):
    with pytest.raises(InputError, match=r"other settings \(seed 0 there, 3 here\)"):
        train_vlm(replace(small_vlm, seed=3), unfinished, quiet)
    assert [len(stage) for stage in losses(unfinished)] == [3, 2, 0]


def test_a_damaged_checkpoint_is_named(small_vlm, unfinished):
    path = unfinished / "stage-1.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"stage-1\.safetensors: cut short"):
        train_vlm(small_vlm, unfinished, quiet)


def test_a_folder_in_use_is_refused(small_vlm, unfinished):
    with (
        run_folder(unfinished),
        pytest.raises(InputError, match="unfinished: in use by another minivlm process"),
    ):
        train_vlm(small_vlm, unfinished, quiet)

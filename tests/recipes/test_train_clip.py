import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from minivlm.errors import InputError
from minivlm.recipes.settings import ClipSettings, defaults_for
from minivlm.recipes.tasks import open_task
from minivlm.recipes.train_clip import train_clip
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.tensorfile import read_arrays
from minivlm.train.log import read_log

PICTURES = {"training.png", "similarity.png", "samples.png", "retrieval.png"}


def quiet(sentence):
    pass


def losses(folder):
    return [line["loss"] for line in read_log(folder / "log.jsonl")]


def weights(folder):
    return read_arrays(folder / "model.safetensors")[0]


def test_a_run_leaves_a_model_a_log_scores_and_pictures(small, tmp_path):
    said = []
    scores = train_clip(small, tmp_path / "run", said.append)
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert PICTURES | {"model.safetensors", "scores.json", "log.jsonl"} <= files
    assert len(losses(tmp_path / "run")) == 6
    written = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert [s["value"] for s in written] == [s.value for s in scores]
    assert any("2.08 nats" in sentence for sentence in said)  # log 8

    names = {score.name.strip() for score in scores}
    assert {"color", "shape", "size", "texture", "background"} <= names
    assert {"text recall@1 of 256", "image recall@10 of 256"} <= names
    assert {"binding: colours swapped", "relation: sides swapped", "position: nine places"} <= names

    clip = TrainedCLIP.load(tmp_path / "run")
    again = open_task(small).evaluate(clip)
    assert again == scores


def test_the_same_settings_give_the_same_bits(small, tmp_path):
    for name in "ab":
        train_clip(small, tmp_path / name, quiet)
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_chunks_give_the_same_run_but_for_rounding(small, tmp_path):
    train_clip(small, tmp_path / "whole", quiet)
    train_clip(replace(small, chunk=3), tmp_path / "chunks", quiet)
    np.testing.assert_allclose(losses(tmp_path / "whole"), losses(tmp_path / "chunks"), rtol=1e-3)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_other_optimizers_learn_too(small, tmp_path, optimizer):
    settings = replace(small, optimizer=optimizer, lr=0.003, steps=30)
    train_clip(settings, tmp_path / "run", quiet)
    assert np.mean(losses(tmp_path / "run")[-5:]) < np.mean(losses(tmp_path / "run")[:5])


def command(settings, folder):
    given = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in settings.to_json().items()
        if value not in (None, False)
    ]
    return [sys.executable, "-m", "minivlm", "train", "clip", *given, f"--out={folder}"]


def test_a_run_killed_at_any_moment_goes_on_to_the_same_bits(small, tmp_path):
    settings = replace(small, steps=40)
    train_clip(settings, tmp_path / "whole", quiet)
    killed, moments = tmp_path / "killed", random.Random(0)
    checkpoint = killed / "checkpoint.safetensors"
    for _ in range(4):
        process = subprocess.Popen(command(settings, killed), stderr=subprocess.DEVNULL)
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None:  # until it has saved something new, then a moment more
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns > before:
                break
            time.sleep(0.005)
        time.sleep(moments.random() * 0.1)
        process.kill()
        process.wait()
        if checkpoint.exists():
            read_arrays(checkpoint)
    if not (killed / "model.safetensors").exists():
        train_clip(settings, killed, quiet)
    assert losses(killed) == losses(tmp_path / "whole")
    a, b = weights(killed), weights(tmp_path / "whole")
    assert all(np.array_equal(a[name], b[name]) for name in b)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_finishes_the_step_saves_and_exits_130(small, tmp_path):
    settings = replace(small, steps=5000)
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(settings, folder), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    while len(losses(folder) if (folder / "log.jsonl").exists() else []) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    done = len(losses(folder))
    assert f"stopped after step {done} of 5000" in said
    assert "Traceback" not in said
    assert read_arrays(folder / "checkpoint.safetensors")[1]["step"] == str(done)
    assert TrainedCLIP.load(folder).settings == settings  # usable as it is


def test_a_folder_with_another_or_a_finished_run_is_refused(small, tmp_path):
    train_clip(small, tmp_path / "run", quiet)
    with pytest.raises(InputError, match="this run is finished"):
        train_clip(small, tmp_path / "run", quiet)
    with pytest.raises(InputError, match=r"other settings \(steps 6 there, 7 here\)"):
        train_clip(replace(small, steps=7), tmp_path / "run", quiet)


def test_bad_data_leaves_no_folder_behind(small, tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        train_clip(replace(small, data=str(tmp_path / "none")), tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def test_a_users_own_pictures_are_learnt_and_held_out(small, captioned, tmp_path):
    settings = replace(small, data=str(captioned), image=32, patch=8, steps=8)
    scores = train_clip(settings, tmp_path / "run", quiet)
    assert scores[0].name == "text recall@1 of 2"
    assert (tmp_path / "run" / "retrieval.png").exists()


def test_digits_are_learnt(small, tmp_path):
    pytest.importorskip("sklearn")
    settings = replace(defaults_for("digits"), steps=30)
    scores = train_clip(settings, tmp_path / "run", quiet)
    assert [s.count for s in scores] == [400, 400]
    assert scores[0].value > 0.2  # guessing gives 0.1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": 0}, "steps 0 is not positive"),
        ({"lr": 0.0}, "lr 0.0 is not positive"),
        ({"seed": -1}, r"seed -1 is not in 0\.\.999999"),
        ({"seed": 2_000_000}, "seed 2000000 is not in"),
        ({"chunk": -1}, "chunk -1 is negative"),
        ({"optimizer": "lion"}, 'optimizer "lion" is none of muon, adamw, sgd'),
    ],
)
def test_settings_say_what_is_wrong_with_them(small, change, sentence):
    with pytest.raises(InputError, match=sentence):
        replace(small, **change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"colour": 1}, 'unknown key "colour"'),
        ({"steps": "6"}, "setting \"steps\" is '6', not int"),
        ({"batch": True}, 'setting "batch" is True, not int'),
    ],
)
def test_settings_from_a_file_are_checked(small, change, sentence):
    with pytest.raises(InputError, match=sentence):
        ClipSettings.from_json(small.to_json() | change, "config.json")
    lacking = small.to_json()
    del lacking["width"]
    with pytest.raises(InputError, match=r'config\.json: settings lack "width"'):
        ClipSettings.from_json(lacking, "config.json")


def test_a_checkpoint_cut_short_is_named(small, tmp_path):
    folder = tmp_path / "run"
    train_clip(small, folder, quiet)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"model\.safetensors: cut short"):
        TrainedCLIP.load(folder)

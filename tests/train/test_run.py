import errno
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing

import numpy as np
import pytest

from minivlm.errors import InputError
from minivlm.tensorfile import write_arrays
from minivlm.train.log import Log, Progress, read_log
from minivlm.train.loop import Step
from minivlm.train.optim import AdamW
from minivlm.train.run import run_folder, stop_on_interrupt
from minivlm.train.saving import load_checkpoint, save_checkpoint
from tests.models.tiny import tiny_batch, tiny_clip


def trained(steps, model, optimizer):
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss(*tiny_batch(seed=optimizer.steps))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def fresh(seed=0):
    model = tiny_clip(seed)
    return model, AdamW(model.named_parameters(), lr=0.01)


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(tmp_path):
    model, optimizer = fresh()
    whole = trained(12, model, optimizer)
    half_model, half_optimizer = fresh()
    losses = trained(5, half_model, half_optimizer)
    save_checkpoint(tmp_path / "c", half_model, half_optimizer, 5)
    again, again_optimizer = fresh(seed=9)
    assert load_checkpoint(tmp_path / "c", again, again_optimizer) == 5
    losses += trained(7, again, again_optimizer)
    assert losses == whole
    for name, array in model.state_dict().items():
        assert np.array_equal(array, again.state_dict()[name]), name


def test_what_is_no_checkpoint_of_this_model_is_refused(tmp_path):
    model, optimizer = fresh()
    write_arrays(tmp_path / "other", model.state_dict(), {})
    with pytest.raises(InputError, match='not a checkpoint, its "step" is'):
        load_checkpoint(tmp_path / "other", model, optimizer)
    save_checkpoint(tmp_path / "c", tiny_clip(pool="mean"), optimizer, 1)
    with pytest.raises(InputError, match=r"c lacks vision\.class_token"):
        load_checkpoint(tmp_path / "c", model, optimizer)


HOLD = """
import sys, pathlib
from minivlm.train.run import run_folder
with run_folder(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_held_by_one_process_and_freed_when_that_is_killed(tmp_path):
    folder = tmp_path / "deep" / "run"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="in use by another"), run_folder(folder):
            pass
        other.kill()
        other.wait()
    with run_folder(folder) as held:
        assert held == folder


def test_half_written_files_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / ".checkpoint.safetensors.123.part").write_bytes(b"half")
    with run_folder(tmp_path):
        assert {p.name for p in tmp_path.iterdir()} == {"config.json", ".lock"}


def test_a_run_that_writes_nothing_leaves_no_folder(tmp_path):
    with pytest.raises(KeyError), run_folder(tmp_path / "run"):
        raise KeyError
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be a run folder"), run_folder(tmp_path / "file"):
        pass


def test_a_lock_on_a_file_that_its_last_holder_removed_is_none(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", lambda file, how: os.unlink(file.name))
    with pytest.raises(InputError, match="in use by another"), run_folder(tmp_path / "run"):
        pass


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(InputError, match="cannot be locked: No locks"), run_folder(tmp_path / "r"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_the_first_interrupt_asks_and_the_second_insists():
    before = signal.getsignal(signal.SIGINT)
    with stop_on_interrupt() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_get_no_signals_and_need_no_handler():
    seen = []

    def work():
        with stop_on_interrupt() as stop:
            seen.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def step(number, loss=1.0):
    return Step(number, loss, factor=1.0, grad_norm=2.0, seconds=0.1)


def test_a_log_has_a_line_a_step(tmp_path):
    with closing(Log(tmp_path / "log.jsonl", 0)) as log:
        log.write(step(0, 2.5), temperature=0.07)
        log.write(step(1), temperature=0.06)
    lines = read_log(tmp_path / "log.jsonl")
    assert [line["number"] for line in lines] == [0, 1]
    assert lines[0] == {
        "number": 0,
        "loss": 2.5,
        "factor": 1.0,
        "grad_norm": 2.0,
        "seconds": 0.1,
        "temperature": 0.07,
    }


def test_steps_taken_again_replace_those_logged_before_a_kill(tmp_path):
    path = tmp_path / "log.jsonl"
    with closing(Log(path, 0)) as log:
        for number in range(5):
            log.write(step(number, loss=1.0))
    with open(path, "a") as file:
        file.write('{"number": 5, "lo')  # cut by the kill
    with closing(Log(path, 3)) as log:
        log.write(step(3, loss=9.0))
    assert [(line["number"], line["loss"]) for line in read_log(path)] == [
        (0, 1.0),
        (1, 1.0),
        (2, 1.0),
        (3, 9.0),
    ]


def test_a_log_that_is_none_is_named_with_its_line(tmp_path):
    path = tmp_path / "log.jsonl"
    with pytest.raises(InputError, match=r"log\.jsonl: No such file"):
        read_log(path)
    path.write_text("nonsense\n" + json.dumps({"number": 1}) + "\n")
    with pytest.raises(InputError, match=r"log\.jsonl, line 1: not JSON"):
        read_log(path)
    for line in ("[3]", "{}", '{"number": "1"}', '{"number": null}'):
        path.write_text(line + "\n")
        with pytest.raises(InputError, match=r"log\.jsonl, line 1: not a step"):
            read_log(path)
    for line in ("[" * 100_000, '{"number": ' + "1" * 5000 + "}"):
        path.write_text(line + "\n{}\n")
        with pytest.raises(InputError, match=r"log\.jsonl, line 1: not JSON"):
            read_log(path)


def test_the_bar_shows_loss_and_temperature(capsys):
    with closing(Progress(4, 1)) as bar:
        bar.show(step(1, loss=3.0), temperature=0.07)
        bar.show(step(2, loss=1.0), temperature=0.06)
    shown = capsys.readouterr().err
    assert "3/4" in shown
    assert "loss=2.900" in shown
    assert "temperature=0.060" in shown

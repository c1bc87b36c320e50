"""What `kernels/bench.py` says of options that it cannot follow."""

import sys

import pytest
import torch

import bench
from minivlm_kernels.benchmark import workloads


@pytest.fixture(autouse=True)
def _own_process(monkeypatch):
    """What the command sets for its own process is set back."""
    for variable in ("NUMBA_ENABLE_CUDASIM", *bench.ONE_STREAM):
        monkeypatch.setenv(variable, "1")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--rungs", "a3,a12"], '--rungs: there is no rung "a12"; there are a1, a2'),
        (["--rungs", ""], '--rungs: there is no rung ""'),
        (["--device", "cpu", "--big"], "--big needs a GPU"),
        (["--big", "--rungs", "a3"], "--big measures C4 and C5"),
        (["--json", "no/such/folder/run.json"], "--json: there is no folder"),
        (["--json", "/"], "--json: / is a folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(options, sentence, capsys):
    assert bench.main(options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"bench: {sentence}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("options", [["--quick", "--big"], ["--device", "tpu"], ["--json"]])
def test_unknown_options_are_status_2(options, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(options)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("package", "device", "sentence"),
    [
        ("torch", "cpu", 'this needs PyTorch: pip install "minivlm[reference]"'),
        ("cupy", "cuda", 'this needs CuPy: pip install "minivlm[cuda13]"'),
    ],
)
def test_what_is_not_installed_is_one_sentence(monkeypatch, capsys, package, device, sentence):
    monkeypatch.setitem(sys.modules, package, None)
    assert bench.main(["--device", device]) == 2
    assert capsys.readouterr().err.startswith(f"bench: {sentence}")


def test_without_a_gpu_the_default_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(bench, "check_installed", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.main([]) == 2
    assert "finds no GPU that it can use" in capsys.readouterr().err


def test_every_rung_takes_part_in_some_workload():
    for plan in (workloads.FULL, workloads.EMULATED):
        names = {c.name for workload in plan for c in workload.contenders() if c.ours}
        assert {rung for name in names for rung in name.split("+")} == set(bench.RUNGS)


def test_a_full_disk_is_one_sentence_after_the_report(monkeypatch, capsys, tmp_path):
    def full(path, value):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(bench, "write_json", full)
    assert bench.main(["--device", "cpu", "--rungs", "a3", "--json", str(tmp_path / "x.json")]) == 2
    out, err = capsys.readouterr()
    assert "| A3 " in out
    assert err.splitlines()[-1] == f"bench: {tmp_path / 'x.json'}: No space left on device"

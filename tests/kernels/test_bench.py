"""`kernels/bench.py` from its options to its report, on tiny shapes on the CPU."""

import json
import os
import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch

import bench
from minivlm_kernels import arrays
from minivlm_kernels.benchmark import attention, contrastive, counting, session, workloads
from minivlm_kernels.benchmark import device as devices
from minivlm_kernels.benchmark.attention import Attention
from minivlm_kernels.benchmark.contrastive import Contrastive
from minivlm_kernels.benchmark.device import CpuDevice, DeviceLost
from minivlm_kernels.benchmark.measure import measure
from minivlm_kernels.benchmark.session import Plan
from minivlm_kernels.benchmark.timing import Contender, Schedule
from minivlm_kernels.benchmark.workloads import Growth
from minivlm_kernels.stepper.log import Launch, Log, Traffic

FORWARD = Attention(1, 1, 6, 4, "float32", causal=True, tile=4)
BACKWARD = Attention(1, 1, 6, 4, "float32", backward=True, tile=4)
PAIRS = Contrastive(6, 4, "float32", backward=True, tile=2)
TINY = Plan((FORWARD, BACKWARD, PAIRS), counted=True, side=8, copied=64, schedule=Schedule(1, 2))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    """Tiny plans; and what the command sets for its own process is set back."""
    for variable in ("NUMBA_ENABLE_CUDASIM", *bench.ONE_STREAM):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(session, "EMULATED", TINY)


@pytest.fixture
def pretended_gpu(monkeypatch):
    """The CPU, as if it were what --device cuda means."""
    device = CpuDevice()
    device.emulated = False
    monkeypatch.setattr(devices, "open_device", lambda name: device)
    monkeypatch.setattr(bench, "check_installed", lambda name: None)
    return device


def entries(run, title):
    workload = next(w for w in run["workloads"] if w["title"] == title)
    return {entry["name"]: entry for entry in workload["entries"]}


def test_without_a_gpu_it_counts(tmp_path, capsys):
    file = tmp_path / "run.json"
    assert bench.main(["--device", "cpu", "--rungs", "a1,a3,a4,c3", "--json", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "Emulated on a CPU" in out
    assert os.environ["NUMBA_ENABLE_CUDASIM"] == "1"
    assert f"python kernels/bench.py --device cpu --rungs a1,a3,a4,c3 --json {file}" in out
    assert err.splitlines()[1] == f"bench: {FORWARD.title}"

    run = json.loads(file.read_text())
    assert run["emulated"]
    assert [w["title"] for w in run["workloads"]] == [w.title for w in TINY.workloads]
    assert set(run["ceilings"]) == {"bfloat16", "tf32", "float32", "copy"}
    assert run["versions"]["torch"] == torch.__version__
    forward = entries(run, FORWARD.title)
    assert list(forward)[:2] == ["A1", "A3"]
    assert forward["torch math"]["seconds"]["repeats"] == 2
    assert forward["torch cuDNN"]["status"] == "not supported"
    for title, name in ((FORWARD.title, "A3"), (BACKWARD.title, "A4"), (PAIRS.title, "C2+C3")):
        rung = entries(run, title)[name]
        assert rung["status"] == "ok"
        assert rung["seconds"]["median"] > 0
        assert rung["counts"]["global"] > 0
        assert all(e["value"] <= e["tolerance"] for e in rung["errors"].values())
    assert forward["A1"]["counts"]["global"] > forward["A3"]["counts"]["global"]


def test_on_a_gpu_the_same_run_is_timed_and_memory_measured(pretended_gpu, monkeypatch, capsys):
    sizes = tuple(Contrastive(N, 4, "float32", tile=2) for N in (5, 6, 7))
    plan = replace(TINY, workloads=(FORWARD,), counted=False)
    plan = replace(plan, growths=(Growth(("C2", "torch dense"), sizes),), big=(PAIRS,))
    monkeypatch.setattr(session, "FULL", plan)
    asked = []

    def peaks(device, contender, given, checked=False):
        asked.append((contender, len(given), checked))
        figures = {"seconds": 2.0, "errors": {}} if checked else {}
        return [
            {"title": w.title, "rows": w.rows, "status": "ok", "peak": 1000 * w.rows, **figures}
            for w in given
        ]

    monkeypatch.setattr(session.memory, "measure_peaks", peaks)
    assert bench.main(["--rungs", "a3,c2"]) == 0
    assert [os.environ[name] for name in ("NUMBA_ENABLE_CUDASIM", *bench.ONE_STREAM)] == ["0"] * 3
    out, _ = capsys.readouterr()
    assert "TFLOP/s" in out
    assert "× math" in out
    assert "C2: one more row (the line is off by 0.0% at most)" in out
    assert asked == [("C2", 3, False), ("torch dense", 3, False), ("C4+C5", 1, True)]
    assert "Large batches" in out


def with_contender(monkeypatch, name, work):
    """One more rung takes part in every attention."""
    others = Attention.contenders

    def contenders(self):
        return [Contender(name, True, lambda inputs: lambda: work(inputs)), *others(self)]

    monkeypatch.setattr(Attention, "contenders", contenders)


def test_a_wrong_rung_is_told_and_not_timed(pretended_gpu, monkeypatch, capsys, tmp_path):
    ran = []

    def wrong(inputs):
        ran.append(inputs)
        q, k, v, _ = inputs.tensors.values()
        o = torch.nn.functional.scaled_dot_product_attention(q, k, v)  # not causal
        return (o,)

    with_contender(monkeypatch, "A6", wrong)
    monkeypatch.setattr(session, "QUICK", replace(TINY, workloads=(FORWARD,), counted=False))
    file = tmp_path / "run.json"
    assert bench.main(["--quick", "--rungs", "a6", "--json", str(file)]) == 1
    out, _ = capsys.readouterr()
    assert " WRONG |" in out
    assert "- A6: o is off by" in out
    assert len(ran) == 1, "a wrong rung was timed"
    first = json.loads(file.read_text())["workloads"][0]["entries"][0]
    assert first["status"] == "WRONG"
    assert "seconds" not in first


def test_numbers_that_a_rung_does_not_write_are_wrong_and_no_numbers_in_json(pretended_gpu):
    def writes_nothing(inputs):
        q = inputs.arrays["q"]
        return (arrays.output(q.shape, q.dtype, q),)

    entries = []
    lazy = Contender("A6", True, lambda inputs: lambda: writes_nothing(inputs))
    measure(FORWARD, [lazy], pretended_gpu, Schedule(0, 1), entries)
    assert entries[0]["status"] == "WRONG"
    assert entries[0]["errors"]["o"]["value"] is None


def test_a_rival_is_not_judged(pretended_gpu):
    def wrong(inputs):
        seen.append(id(inputs))
        return lambda: (2 * inputs.tensors["v"],)

    seen, entries = [], []
    measure(FORWARD, [Contender("torch", False, wrong)], pretended_gpu, Schedule(0, 4), entries)
    assert entries[0]["status"] == "ok"
    assert [seen.index(each) for each in seen] == [
        0,
        0,
        2,
        3,
        0,
    ]  # three sets of inputs, in rotation
    assert entries[0]["errors"]["o"]["value"] > 0.1


def test_inputs_that_do_not_fit_are_told_of_everyone(pretended_gpu, monkeypatch):
    def full(self, device, seed):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(Attention, "inputs", full)
    entries = []
    measure(FORWARD, FORWARD.contenders(), pretended_gpu, Schedule(0, 1), entries)
    assert {(entry["status"], entry["why"]) for entry in entries} == {("out of memory", "full")}


def test_the_tile_of_a_workload_is_that_of_numbas_rungs(pretended_gpu, monkeypatch):
    tiles = []

    def rung(outputs, *arguments, tile, **options):
        tiles.append(tile)
        return (None,) * outputs

    monkeypatch.setattr(attention, "attention_rung", lambda name: partial(rung, 2))
    monkeypatch.setattr(
        contrastive, "contrastive_rungs", lambda forward, sigmoid: (partial(rung, 3),) * 2
    )
    for workload in (FORWARD, BACKWARD, PAIRS):
        inputs = workload.inputs(pretended_gpu, 0)
        for contender in workload.contenders():
            if contender.name in ("A1", "A2", "A3", "A4", "C2+C3"):
                contender.prepare(inputs)()
    assert tiles == [4] * 5 + [2] * 2


def test_only_workloads_of_rungs_that_take_part_are_run_and_each_is_saved(pretended_gpu):
    saved, calls = [], []
    pretended_gpu.free_memory = lambda: calls.append("free")
    pretended_gpu.seconds = lambda work: calls.append("work") or 1.0
    run = session.new_run(pretended_gpu, "here")
    plan = replace(TINY, workloads=(FORWARD, BACKWARD, replace(BACKWARD, T=5)), counted=False)
    session.fill(
        run, plan, pretended_gpu, frozenset({"A4"}), lambda: saved.append(len(run["workloads"]))
    )
    assert [w["sizes"]["T"] for w in run["workloads"]] == [6, 5]
    assert saved == [0, 1, 2]
    assert calls[-1] == "free"
    assert set(run["clocks"]) == {"before", "after"}


def test_no_line_goes_through_peaks_of_which_one_is_missing(pretended_gpu, monkeypatch):
    def peaks(device, contender, given):
        rows = [{"title": w.title, "rows": w.rows, "peak": 1000 * w.rows} for w in given]
        if contender == "torch dense":
            rows[2] = {"title": given[2].title, "rows": given[2].rows, "status": "out of memory"}
        return rows

    monkeypatch.setattr(session.memory, "measure_peaks", peaks)
    run = session.new_run(pretended_gpu, "here")
    growths = workloads.GROWTHS[2:]
    session.fill(run, Plan(growths=growths, side=8, copied=64), pretended_gpu, {"C5"}, lambda: None)
    lines = {growth["contender"]: growth["line"] for growth in run["memory"]}
    assert lines["C4+C5"]["per_row"] == pytest.approx(1000)
    assert lines["torch dense"] is None
    assert "C1" not in lines


def test_bytes_are_those_read_and_those_written():
    log = Log()
    for reads, writes in ((3, 2), (10, 1)):
        launch = Launch("kernel", None, None, None)
        launch.arrays["q"] = Traffic("q", "global", 4, reads=reads, writes=writes)
        launch.arrays["tile"] = Traffic("tile", "shared", 8, reads=writes)
        log.launches.append(launch)
    assert counting._of_numba(log) == {"global": 4 * 16, "shared": 8 * 3}


@pytest.mark.skipif(shutil.which("g++") is None, reason="on the CPU, .cu files need g++")
def test_operations_of_tensor_cores_are_those_of_the_formula(pretended_gpu):
    workload = Attention(1, 1, 64, 16, "bfloat16")
    contenders = [contender for contender in workload.contenders() if contender.name == "A6"]
    entries = [{"name": "A6", "status": "ok"}]
    counting.count(workload, contenders, pretended_gpu, entries)
    counts = entries[0]["counts"]
    assert counts["operations"] == workload.operations
    assert counts["global"] == 4 * 64 * 16 * 2 + 64 * 4  # q, k and v once, o, and lse
    assert counts["conflicts"] == 1


def test_a_rung_that_was_not_right_is_not_counted(pretended_gpu):
    entries = [{"name": contender.name, "status": "WRONG"} for contender in FORWARD.contenders()]
    counting.count(FORWARD, FORWARD.contenders(), pretended_gpu, entries)
    assert not any("counts" in entry for entry in entries)


def test_a_rung_that_does_not_run_is_told_and_the_others_are_timed(pretended_gpu, monkeypatch):
    def fails(inputs):
        raise ValueError("no such kernel")

    with_contender(monkeypatch, "A6", fails)
    run = session.new_run(pretended_gpu, "here")
    session.fill(
        run, replace(TINY, workloads=(FORWARD,)), pretended_gpu, {"A3", "A6"}, lambda: None
    )
    told = entries(run, FORWARD.title)
    assert (told["A6"]["status"], told["A6"]["why"]) == ("failed", "no such kernel")
    assert "seconds" in told["A3"]
    assert session.has_failed(run)


@pytest.mark.parametrize(
    ("stop", "status", "sentence"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (DeviceLost("the GPU is gone"), 1, "A6: the GPU is gone"),
    ],
)
def test_what_was_measured_until_a_stop_is_saved(
    monkeypatch, capsys, tmp_path, stop, status, sentence
):
    def stops(inputs):
        turns.append(inputs)
        if len(turns) == 9:  # in the second workload, while it is timed
            raise stop
        return a3(inputs)()

    turns = []
    a3 = next(c for c in FORWARD.contenders() if c.name == "A3").prepare
    with_contender(monkeypatch, "A6", stops)
    plan = replace(TINY, workloads=(FORWARD, replace(FORWARD, T=7), PAIRS), counted=False)
    monkeypatch.setattr(session, "EMULATED", replace(plan, schedule=Schedule(1, 3)))
    file = tmp_path / "run.json"
    assert bench.main(["--device", "cpu", "--rungs", "a6", "--json", str(file)]) == status
    out, _ = capsys.readouterr()
    assert f"**Stopped before the end: {sentence}.**" in out
    run = json.loads(file.read_text())
    assert run["stopped"] == sentence
    first, second = run["workloads"]
    assert first["entries"][0]["seconds"]["repeats"] == 3
    assert second["entries"][0]["seconds"]["repeats"] == 1
    assert second["entries"][0]["status"] == "ok"


def test_a_gpu_that_is_lost_in_a_check_is_blamed_on_the_rung(pretended_gpu):
    def lost(inputs):
        raise DeviceLost("the GPU is gone")

    with pytest.raises(DeviceLost, match="A6: the GPU is gone"):
        measure(FORWARD, [Contender("A6", True, lost)], pretended_gpu, Schedule(), [])


def test_a_mistake_of_ours_keeps_its_traceback_and_what_was_measured(monkeypatch, capsys, tmp_path):
    def broken(self, device, inputs):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Contrastive, "judge", broken)
    monkeypatch.setattr(session, "EMULATED", replace(TINY, workloads=(FORWARD, PAIRS)))
    file = tmp_path / "run.json"
    with pytest.raises(ZeroDivisionError):
        bench.main(["--device", "cpu", "--rungs", "a3,c3", "--json", str(file)])
    out, _ = capsys.readouterr()
    assert "**Stopped before the end: ZeroDivisionError: a bug.**" in out
    assert "seconds" in entries(json.loads(file.read_text()), FORWARD.title)["A3"]

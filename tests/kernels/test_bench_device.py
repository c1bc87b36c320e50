"""The GPU's side of the benchmark, with stand-ins for what only a GPU can do; and peak memory."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minivlm.errors import InputError
from minivlm_kernels import arrays
from minivlm_kernels.arrays import F32
from minivlm_kernels.benchmark import memory
from minivlm_kernels.benchmark.accuracy import sampled
from minivlm_kernels.benchmark.attention import ROWS, Attention
from minivlm_kernels.benchmark.ceilings import measure_ceilings
from minivlm_kernels.benchmark.contrastive import Contrastive
from minivlm_kernels.benchmark.device import CpuDevice, DeviceLost, open_device
from minivlm_kernels.benchmark.memory import fit_line, measure_peaks
from minivlm_kernels.benchmark.timing import Contender, Schedule
from minivlm_kernels.benchmark.workloads import BIG, EMULATED, FULL, GROWTHS, as_dict, from_dict


class Event:
    """A CUDA event on a clock that tells in which order things were asked for."""

    diary: list
    milliseconds = iter(())

    def __init__(self, enable_timing=False):
        assert enable_timing

    def record(self):
        self.at = next(Event.milliseconds)
        Event.diary.append("record")

    def synchronize(self):
        Event.diary.append("wait")

    def elapsed_time(self, stop):
        return stop.at - self.at


@pytest.fixture
def gpu(monkeypatch):
    """A `CudaDevice` whose driver is made of these lines."""
    Event.diary = []
    Event.milliseconds = iter([10.0, 12.5])
    properties = SimpleNamespace(
        name="NVIDIA H200", major=9, minor=0, multi_processor_count=132, total_memory=141 * 2**30
    )
    for name, stand_in in {
        "is_available": lambda: True,
        "init": lambda: None,
        "Event": Event,
        "_sleep": lambda cycles: Event.diary.append("sleep"),
        "synchronize": lambda: None,
        "empty_cache": lambda: Event.diary.append("torch's pool"),
        "mem_get_info": lambda: (30, 100),
        "get_device_properties": lambda index: properties,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    pool = SimpleNamespace(free_all_blocks=lambda: Event.diary.append("CuPy's pool"))
    runtime = SimpleNamespace(driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 12090)
    cupy = SimpleNamespace(
        __version__="14.2.0",
        zeros=lambda n: SimpleNamespace(get=lambda: None),
        from_dlpack=np.from_dlpack,
        get_default_memory_pool=lambda: pool,
        cuda=SimpleNamespace(
            runtime=runtime, Device=lambda index: SimpleNamespace(pci_bus_id="0000:3B:00.0")
        ),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return open_device("cuda")


def test_the_host_has_a_head_start_and_only_the_work_lies_between_the_events(gpu):
    assert gpu.seconds(lambda: Event.diary.append("work")) == pytest.approx(2.5e-3)
    assert Event.diary == ["sleep", "record", "work", "record", "wait"]


def test_both_pools_are_emptied_and_the_driver_tells_what_is_taken(gpu):
    gpu.free_memory()
    assert Event.diary == ["torch's pool", "CuPy's pool"]
    assert gpu.taken() == gpu.most_taken() == 70


def test_bfloat16_goes_to_cupy_and_back_without_a_copy(gpu):
    tensor = torch.ones(2, 3, dtype=torch.bfloat16)
    array = gpu.array(tensor)
    assert str(array.dtype) == "bfloat16"
    gpu.tensor(array)[1, 2] = 4
    assert tensor[1, 2] == 4


def test_the_report_says_which_gpu_and_which_driver(gpu, monkeypatch):
    asked = []

    def answer(command, **options):
        asked.append(command)
        values = {"driver_version": "580.82"}
        fields = command[3].removeprefix("--query-gpu=").split(",")
        return SimpleNamespace(stdout=", ".join(values.get(f, f"<{f}>") for f in fields) + "\n")

    monkeypatch.setattr(subprocess, "run", answer)
    about = gpu.about()
    assert about["device"] == "NVIDIA H200"
    assert about["driver"] == "580.82"
    assert about["CUDA of the driver"] == "13.0"
    assert about["CUDA of CuPy"] == "12.9"
    assert gpu.clocks()["clocks.sm"] == "<clocks.sm>"
    assert all(command[:3] == ["nvidia-smi", "-i", "0000:3B:00.0"] for command in asked)


def test_without_nvidia_smi_clocks_are_unknown(gpu, monkeypatch):
    def missing(command, **options):
        raise FileNotFoundError(command[0])

    monkeypatch.setattr(subprocess, "run", missing)
    assert gpu.clocks() == {}
    assert gpu.about()["driver"] == "unknown"


@pytest.mark.parametrize("call", ["finish", "free_memory"])
def test_a_gpu_that_is_lost_says_so(gpu, monkeypatch, call):
    def lost():
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with …")

    monkeypatch.setattr(torch.cuda, "synchronize", lost)
    monkeypatch.setattr(torch.cuda, "empty_cache", lost)
    with pytest.raises(DeviceLost, match=r"\(CUDA error: an illegal memory access was encount.*\)"):
        getattr(gpu, call)()


def test_without_a_gpu_one_sentence_says_so(gpu, monkeypatch):
    def no_driver(n):
        raise RuntimeError("cudaErrorInsufficientDriver")

    monkeypatch.setattr(sys.modules["cupy"], "zeros", no_driver)
    with pytest.raises(InputError, match=r"CuPy 14\.2\.0 cannot use the GPU: cudaErrorInsuff"):
        open_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="finds no GPU that it can use"):
        open_device("cuda")


class Counted(CpuDevice):
    """Each piece of work takes so many seconds."""

    def seconds(self, work):
        work()
        return 0.5


def test_ceilings_count_two_operations_a_multiply_add_and_reading_and_writing():
    ceilings = measure_ceilings(Counted(), 8, 64, Schedule(warm_ups=1, repeats=3))
    assert ceilings == {**dict.fromkeys(("bfloat16", "tf32", "float32"), 2048.0), "copy": 256.0}
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_ceiling_that_does_not_fit_is_missing(monkeypatch):
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(torch, "mm", full)
    assert set(measure_ceilings(Counted(), 8, 64, Schedule(0, 1))) == {"copy"}


def test_a_line_through_peaks_gives_the_bytes_of_a_row():
    line = fit_line([100, 200, 300], [1000 + 9264 * N for N in (100, 200, 300)])
    np.testing.assert_allclose(line, (9264, 1000, 0), atol=1e-6)


def test_memory_that_grows_as_the_square_is_off_the_line():
    assert fit_line([100, 200, 300], [16 * N * N for N in (100, 200, 300)]).off > 0.1


def test_the_peak_is_measured_in_a_process_of_its_own():
    sizes = [Contrastive(N, 8, "float32", backward=True) for N in (1000, 2000)]
    small, large = measure_peaks("cpu", "torch dense", sizes, checked=True)
    assert (small["rows"], large["rows"]) == (1000, 2000)
    assert small["status"] == large["status"] == "ok"
    assert large["peak"] > 12 * 2000**2  # at least three matrices of float32 at once
    assert large["peak"] < 40 * 2000**2
    assert large["seconds"] > 0
    assert large["errors"]["d_image"]["value"] < 1e-5


def test_a_checked_run_that_leaves_numbers_unwritten_is_wrong(monkeypatch, capsys):
    def forgets_a_row(inputs):
        v = inputs.arrays["v"]
        o = arrays.output(v.shape, F32, v)
        written = np.arange(30) != other
        o[:, :, written] = v.mean(-2, keepdims=True)
        return lambda: (o,)

    def looks_everywhere(self, device, seed):
        inputs = made(self, device, seed)
        inputs.tensors["q"].zero_()
        return inputs

    other = next(t for t in range(30) if t not in sampled(np.random.default_rng(0), 30, ROWS))
    made = Attention.inputs
    monkeypatch.setattr(Attention, "inputs", looks_everywhere)
    monkeypatch.setattr(
        Attention, "contenders", lambda self: [Contender("A6", True, forgets_a_row)]
    )
    sizes = as_dict(Attention(1, 1, 30, 2, "float32"))
    memory.child({"device": "cpu", "contender": "A6", "checked": True, "workloads": [sizes]})
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["status"] == "WRONG"


def test_a_process_that_ends_early_leaves_what_it_measured(monkeypatch):
    first, *others = workloads = [Contrastive(N, 8, "float32") for N in (10, 20, 30)]

    def run(command, **options):
        line = json.dumps({"title": first.title, "rows": 10, "status": "ok", "peak": 5})
        return SimpleNamespace(
            stdout=line, stderr="Traceback\nKilled by the kernel\n", returncode=9
        )

    monkeypatch.setattr(memory.subprocess, "run", run)
    peaks = measure_peaks("cpu", "C2", workloads)
    assert [peak["status"] for peak in peaks] == ["ok", "failed", "failed"]
    assert peaks[2]["rows"] == others[1].N
    assert peaks[1]["why"] == "the process ended with status 9: Killed by the kernel"


@pytest.mark.parametrize("workload", FULL + EMULATED + BIG, ids=lambda workload: workload.title)
def test_a_workload_goes_to_a_child_and_back(workload):
    assert from_dict(as_dict(workload)) == workload
    small = workload.small()
    assert small.rows <= 256
    assert (small.dtype, small.backward) == (workload.dtype, workload.backward)


def test_what_memory_is_measured_of_takes_part_in_its_workloads():
    for growth in GROWTHS:
        for workload in growth.workloads:
            names = {contender.name for contender in workload.contenders()}
            assert names >= set(growth.contenders)
        assert len(growth.workloads) == 3

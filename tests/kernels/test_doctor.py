"""The doctor tells what is missing and the command that mends it, on machines of many kinds."""

import ctypes
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from types import SimpleNamespace

import pytest

from minivlm_kernels import doctor, machine
from minivlm_kernels.doctor import findings, told
from minivlm_kernels.machine import Driver, Machine, Missing, look

HEALTHY = Machine(
    packages={
        "numpy": "2.4.6",
        "ml_dtypes": "0.5.4",
        "numba": "0.68.1",
        "numba-cuda": "0.30.4",
        "cupy-cuda13x": "14.2.0",
    },
    compiler="g++ (Debian) 12.2.0",
    driver=Driver((13, 0), "NVIDIA H200", (9, 0)),
    nvrtc=(13, 0),
    headers=(13, 0),
    nvvm="libnvvm.so.4",
    nvjitlink="libnvJitLink.so.13",
    simulator=False,
)


def packages(drop=(), **versions):
    """The healthy machine's packages, some of them dropped, others added."""
    named = {name.replace("_cuda", "-cuda"): version for name, version in versions.items()}
    return {k: v for k, v in {**HEALTHY.packages, **named}.items() if k not in drop}


def wrong(**changes):
    """What is not good about the healthy machine with changes."""
    return [finding for finding in findings(replace(HEALTHY, **changes)) if not finding.good]


def test_a_healthy_machine_lacks_nothing():
    assert wrong() == []
    lines = told(list(findings(HEALTHY)))
    assert all(line.startswith("ok ") for line in lines[:-1])
    assert lines[-1] == "The GPU rungs can run here."
    assert "NVIDIA H200, compute capability 9.0, with a driver for CUDA up to 13.0" in lines[2]


@pytest.mark.parametrize(
    ("changes", "sentence", "command"),
    [
        (
            {"driver": Missing("libcuda.so.1: cannot open shared object file")},
            "no NVIDIA driver answers: libcuda.so.1",
            "ubuntu-drivers install",
        ),
        (
            {"driver": Driver((12, 4), "NVIDIA A100", (8, 0))},
            "cupy-cuda13x needs a driver for CUDA 13, this one is for 12",
            'pip uninstall -y cupy-cuda13x && pip install -e ".[cuda12]"',
        ),
        (
            {"driver": Driver((11, 8), "NVIDIA A100", (8, 0))},
            "cupy-cuda13x needs a driver for CUDA 13, this one is for 11",
            "ubuntu-drivers install",
        ),
        (
            {"driver": Driver((13, 0), "Tesla V100", (7, 0))},
            "Tesla V100, compute capability 7.0: the rungs need 7.5",
            "",
        ),
        (
            {"packages": packages(drop=["cupy-cuda13x"]), "nvrtc": Missing("no module cupy")},
            "CuPy is not installed",
            'pip install -e ".[cuda13]"',
        ),
        (
            {"packages": packages(cupy_cuda12x="14.0.0")},
            "cupy-cuda12x and cupy-cuda13x are both installed",
            'pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install -e ".[cuda13]"',
        ),
        (
            {"packages": packages(cupy_cuda13x="13.6.0")},
            "cupy-cuda13x 13.6.0 knows no bfloat16",
            'pip install -U "cupy-cuda13x[ctk]>=14"',
        ),
        (
            {"packages": packages(drop=["numba-cuda", "ml_dtypes"])},
            "not installed: ml_dtypes, numba-cuda. No rung can run",
            'pip install -e ".[kernels]"',
        ),
        (
            {"packages": packages(numpy="2.5.2")},
            "numba-cuda 0.30.4 compiles nothing for a GPU beside NumPy 2.5.2",
            'pip install "numpy<2.5"',
        ),
        ({"simulator": True}, "NUMBA_ENABLE_CUDASIM is set", "unset NUMBA_ENABLE_CUDASIM"),
        (
            {"nvrtc": Missing("no libnvrtc.so.13")},
            "CuPy cannot compile .cu files: no libnvrtc.so.13",
            'pip install -e ".[cuda13]"',
        ),
        (
            {"headers": Missing("no cuda_runtime_api.h anywhere")},
            "CUDA's headers are missing",
            'pip install -e ".[cuda13]"',
        ),
        (
            {"headers": (12, 6)},
            "NVRTC is of CUDA 13.0, its headers 12.6, which do not go together",
            'pip install -e ".[cuda13]"',
        ),
        ({"nvvm": Missing("no libnvvm")}, "libNVVM is missing", 'pip install -e ".[cuda13]"'),
    ],
)
def test_what_keeps_the_gpu_rungs_from_running_is_told_once_with_its_command(
    changes, sentence, command
):
    (finding,) = wrong(**changes)
    assert finding.blocks
    assert finding.told.startswith(sentence)
    assert command in finding.mend
    lines = told([finding])
    assert lines[0].startswith(f"missing  {sentence}")
    assert ("$ " in lines[1]) == bool(command)
    assert "The GPU rungs cannot run here before what is missing is mended." in lines


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"compiler": Missing("No such file: 'g++'")}, "the .cu rungs cannot run on the CPU"),
        ({"driver": Driver((13, 0), "Tesla T4", (7, 5))}, "bfloat16 needs compute capability 8.0"),
        ({"nvjitlink": Missing("no libnvJitLink")}, "nvJitLink is missing: Numba then hands PTX"),
    ],
)
def test_what_the_gpu_rungs_can_do_without_is_a_note(changes, sentence):
    (finding,) = wrong(**changes)
    assert not finding.blocks
    lines = told([finding])
    assert lines[0].startswith(f"note     {sentence}")
    assert lines[-1] == "The GPU rungs can run here."


def test_the_simulator_is_fine_where_there_is_no_gpu():
    (finding,) = wrong(simulator=True, driver=Missing("none"))
    assert "driver" in finding.told


def test_a_driver_newer_than_cupy_is_fine():
    twelve = packages(drop=["cupy-cuda13x"], cupy_cuda12x="14.0.0")
    assert wrong(packages=twelve, nvrtc=(12, 9), headers=(12, 9)) == []


def fake_driver(monkeypatch, refuse=None, status=0):
    """A driver of CUDA 13.2 with one GPU; the function named `refuse` answers with a status."""

    def cuInit(flags):
        return status if refuse == "cuInit" else 0

    def cuDriverGetVersion(number):
        number._obj.value = 13020
        return 0

    def cuDeviceGet(gpu, ordinal):
        return status if refuse == "cuDeviceGet" else 0

    def cuDeviceGetName(name, length, gpu):
        name.value = b"NVIDIA H200"
        return 0

    def cuDeviceGetAttribute(number, attribute, gpu):
        number._obj.value = {75: 9, 76: 0}[attribute]
        return 0

    functions = (cuInit, cuDriverGetVersion, cuDeviceGet, cuDeviceGetName, cuDeviceGetAttribute)
    library = SimpleNamespace(**{function.__name__: function for function in functions})
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)


def test_the_driver_is_asked_for_its_version_and_its_gpu(monkeypatch):
    fake_driver(monkeypatch)
    assert look().driver == Driver((13, 2), "NVIDIA H200", (9, 0))


@pytest.mark.parametrize(
    ("refuse", "status", "reason"),
    [
        ("cuInit", 100, "the driver finds no GPU"),
        ("cuInit", 803, "the driver's library is not of the version that its kernel module has"),
        ("cuDeviceGet", 999, "cuDeviceGet says 999"),
    ],
)
def test_a_driver_that_refuses_is_missing_with_its_reason(monkeypatch, refuse, status, reason):
    fake_driver(monkeypatch, refuse, status)
    driver = look().driver
    assert isinstance(driver, Missing)
    assert driver.startswith(reason)


def fake_cupy(monkeypatch, get_version):
    nvrtc = SimpleNamespace(getVersion=get_version)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(nvrtc=nvrtc)))


def test_nvrtc_is_the_one_that_cupy_loads(monkeypatch):
    fake_cupy(monkeypatch, lambda: (12, 9))
    assert look().nvrtc == (12, 9)


def test_whatever_a_package_raises_becomes_one_line(monkeypatch):
    def get_version():
        raise RuntimeError("libnvrtc.so.13 cannot be loaded\nand so on,\nfor many lines")

    fake_cupy(monkeypatch, get_version)
    nvrtc = look().nvrtc
    assert (type(nvrtc), nvrtc) == (Missing, "libnvrtc.so.13 cannot be loaded")


def test_headers_tell_their_version(monkeypatch, tmp_path):
    (tmp_path / "cuda_runtime_api.h").write_text("#define CUDART_VERSION  12060\n")
    fake = SimpleNamespace(
        find_nvidia_header_directory=lambda name: str(tmp_path),
        load_nvidia_dynamic_lib=lambda name: SimpleNamespace(abs_path=f"/{name}.so"),
    )
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", fake)
    answers = look()
    assert answers.headers == (12, 6)
    assert (answers.nvvm, answers.nvjitlink) == ("/nvvm.so", "/nvJitLink.so")
    fake.find_nvidia_header_directory = lambda name: None
    assert look().headers == "no cuda_runtime_api.h anywhere"


@pytest.mark.parametrize(("value", "simulated"), [("1", True), ("0", False), ("", False)])
def test_the_simulators_switch_is_seen(monkeypatch, value, simulated):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", value)
    assert look().simulator is simulated


def test_a_bare_machine_gets_a_diagnosis_and_no_traceback(monkeypatch, capsys):
    def nothing(*arguments, **named):
        raise OSError("not here")

    def no_package(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(machine, "import_module", nothing)
    monkeypatch.setattr(machine.subprocess, "run", nothing)
    monkeypatch.setattr(ctypes, "CDLL", nothing)
    monkeypatch.setattr(metadata, "version", no_package)
    assert doctor.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("missing  not installed: numpy, ml_dtypes, numba, numba-cuda")
    assert lines == doctor.diagnose()


def test_the_command_answers_0_where_the_gpu_rungs_can_run(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "look", lambda: HEALTHY)
    assert doctor.main() == 0
    assert capsys.readouterr().out.endswith("The GPU rungs can run here.\n")


@pytest.mark.parametrize(("package", "asked"), [("ml_dtypes", "install"), ("numba", "stepper")])
def test_without_the_kernels_packages_the_doctor_runs_and_the_rest_says_what_to_do(package, asked):
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import minivlm_kernels, minivlm_kernels.doctor\n"
        "minivlm_kernels.doctor.diagnose()\n"
        "from minivlm.errors import InputError\n"
        f"try:\n    from minivlm_kernels import {asked}\n"
        "except InputError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    assert 'pip install -e ".[kernels]" brings it' in done.stdout

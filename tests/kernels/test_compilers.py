"""Every kernel compiles for real GPUs, and as the committed table says.

Each check has a rung in `broken_rungs` that it must catch. The compilers run in child processes,
for in this one Numba is its simulator.
"""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from minivlm_kernels.compilers import __main__ as command
from minivlm_kernels.compilers import examine
from minivlm_kernels.compilers.figures import CompileError, Figures, TooOld, read_report, refusal
from minivlm_kernels.compilers.float64 import find_float64, has_float64
from minivlm_kernels.compilers.rungs import find_rungs
from minivlm_kernels.compilers.table import OTHERS, differences
from tests.kernels.test_compilers_table import small_table

KERNELS = Path(__file__).parents[2] / "kernels"
TABLE = KERNELS / "registers.md"
BROKEN_RUNGS = Path(__file__).parent / "broken_rungs"
VERSIONS = {"numba": "0.68.1", "nvidia-nvvm": "13.0.88"}


def compile_in_child(*arguments):
    """Run the command where Numba is itself, and not its simulator."""
    paths = os.pathsep.join([str(KERNELS), str(KERNELS.parent)])
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": paths}
    python = [sys.executable, "-m", "minivlm_kernels.compilers", *map(str, arguments)]
    done = subprocess.run(python, env=environment, capture_output=True, text=True, check=False)
    if "is not installed" in done.stderr or OTHERS in done.stderr:
        pytest.skip(done.stderr.strip())
    return done


@pytest.fixture(scope="module")
def broken():
    """What the command says of the broken rungs."""
    done = compile_in_child("--root", BROKEN_RUNGS)
    assert done.returncode == 1
    return done


def test_every_rung_compiles_with_the_registers_and_spills_of_the_table():
    done = compile_in_child("--check", TABLE)
    if done.returncode:
        pytest.fail(done.stderr, pytrace=False)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize(
    "sentence",
    [
        "attention/a1_float64.py total (size any; sm_75, sm_80, sm_90): "
        "float64 at a1_float64.py line 12 (cvt.f64.f32)",
        "attention/a2_greedy.py turned_round (size 128; sm_75, sm_80, sm_90): "
        "65536 bytes of static shared memory, and a kernel may have 49152",
        "attention/a3_mistyped.py kernel (size any; sm_75, sm_80, sm_90): "
        "a3_mistyped.py line 8: Unknown attribute 'length' of type float32",
        "attention/a4_misjudged.py kernel (size any; sm_75, sm_80, sm_90): "
        "its signature is (float32[:,:,:,:], float32), "
        "and it is launched with (float32[:,:,:,:], float64)",
        "attention/a5_undefined.cu (size 16, 64, 128; sm_75, sm_80, sm_90): "
        f'{BROKEN_RUNGS}/attention/a5_undefined.cu(3): error: identifier "INFINITY" is undefined',
        "attention/a7_greedy.cu (size 16, 64, 128; sm_75, sm_80, sm_90): "
        "65536 bytes of static shared memory, and a kernel may have 49152",
        "attention/a8_empty.cu (size 16, 64, 128; sm_75, sm_80, sm_90): there is no kernel in it",
        "attention/a6_modern.cu copied (size 16, 64, 128; sm_80): "
        "a block does not fit: 128 threads of 10 registers, 174096 bytes of shared memory",
        "contrastive/c1_double.cu (size any; sm_75, sm_80, sm_90): "
        "float64 at c1_double.cu line 3 (cvt.ftz.f64.f32)",
    ],
)
def test_a_broken_rung_is_told_with_its_file_and_line(broken, sentence):
    assert sentence in broken.stderr.splitlines()


def test_nothing_is_told_of_rungs_that_break_no_rule(broken):
    assert len(broken.stderr.splitlines()) == 9


def test_a_new_spill_is_told(broken):
    rows = broken.stdout.splitlines()
    (row,) = (i for i, text in enumerate(rows) if "mixed" in text)
    spilled = rows[row + 1].split("|")[7]
    assert int(spilled) > 0
    rows[row + 1] = rows[row + 1].replace(spilled, "0".rjust(len(spilled)))
    (sentence,) = differences("\n".join(rows) + "\n", broken.stdout)
    assert sentence == (
        f"attention/a4_spilling.cu mixed, C = 64: spilled {spilled.strip()}, in the table 0"
    )


def test_kernels_of_a_file_stand_in_its_order(broken):
    assert broken.stdout.index("| mixed ") < broken.stdout.index("| alone ")


def test_a_rung_has_no_registers_where_it_cannot_run(broken):
    (row,) = (text for text in broken.stdout.splitlines() if "a6_modern.cu" in text)
    cells = [cell.strip() for cell in row.split("|")]
    turing, ampere, hopper = cells[4:7]
    assert (turing, ampere) == ("", "")
    assert int(hopper) > 0


def test_threads_and_shared_memory_are_those_of_the_launch(broken):
    (row,) = (text for text in broken.stdout.splitlines() if "a6_modern.cu" in text)
    threads, shared, warps = row.split("|")[9:12]
    assert (int(threads), int(shared), int(warps)) == (128, 170 * 1024 + 16, 4)


def test_every_file_of_a_ladder_that_is_named_as_a_rung_is_one(tmp_path):
    for name in ("attention/a1_b.py", "attention/a2_c.cu", "contrastive/c3_d.cu"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("attention/tiles.cuh", "attention/cuda.py", "contrastive/inputs.py"):
        (tmp_path / name).touch()
    assert find_rungs(tmp_path) == [
        "attention/a1_b.py",
        "attention/a2_c.cu",
        "contrastive/c3_d.cu",
    ]


def test_every_kernel_of_the_table_is_launched_by_its_host():
    rows = [line.split("|") for line in TABLE.read_text(encoding="utf-8").splitlines()]
    kernels = [row for row in rows if len(row) == 13 and row[9].strip().isdigit()]
    assert len(kernels) > 40
    assert [row for row in kernels if int(row[9]) == 0] == []


def test_figures_are_those_of_the_kernel_and_not_of_a_function_that_it_calls():
    report = """\
ptxas info    : 8 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_90'
ptxas info    : Function properties for helper
    900 bytes stack frame, 901 bytes spill stores, 902 bytes spill loads
ptxas info    : Function properties for one
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 16 bytes cumulative stack size, 2112 bytes smem
ptxas info    : Compile time = 21.135 ms
ptxas info    : Compiling entry function 'two' for 'sm_90'
ptxas info    : Function properties for two
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers
"""
    assert read_report(report) == {"one": Figures(40, 8, 16, 2112), "two": Figures(255, 0, 0, 0)}


def test_a_report_without_figures_is_an_error():
    with pytest.raises(CompileError, match="no figures of one"):
        read_report("Compiling entry function 'one' for 'sm_90'\nFunction properties for one\n")


def test_a_refusal_knows_when_a_newer_gpu_would_do():
    assert isinstance(
        refusal("error : Feature 'cp.async' requires .target sm_80 or higher"), TooOld
    )
    assert not isinstance(refusal("a.cu(3): error: expected a ;"), TooOld)


def test_float64_is_found_at_the_line_that_computes():
    ptx = """\
\t.reg .f64 \t%fd<4>;
\t.loc\t1 10 1
\tmov.f64 \t%fd1, 0d0000000000000000;
\t.loc\t2 12 5
\tfma.rn.f64 \t%fd2, %fd1, %fd1, %fd1;
\t.file\t1 "/a/one.py"
\t.file\t2 "/a/two.cuh"
"""
    assert has_float64(ptx)
    assert find_float64(ptx) == "two.cuh line 12 (fma.rn.f64)"


def test_a_name_with_f64_in_it_is_not_float64():
    assert not has_float64(".visible .entry kernel_f64_9f64x(\n\tadd.f32 %f1, %f2, %f64;")


@pytest.fixture
def quick(monkeypatch):
    """The command, with a small table in place of the compilers; its broken rules are returned."""
    for package in ("nvidia-nvvm", "nvidia-nvjitlink", "nvidia-cuda-nvrtc"):
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f'{package} is not installed; pip install -e ".[compilers]" brings it')
    broken = []
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(examine, "examine_all", lambda root, rungs: (small_table(), broken))
    return broken


def test_what_was_written_passes_the_check(quick, tmp_path, capsys):
    path = tmp_path / "registers.md"
    assert command.main(["--write", str(path)]) == 0
    assert command.main(["--check", str(path)]) == 0
    path.write_text(path.read_text(encoding="utf-8").replace("254", "253"), encoding="utf-8")
    assert command.main(["--check", str(path)]) == 1
    *_, change, advice = capsys.readouterr().err.splitlines()
    assert "scores, C = 64: registers on sm_90 254, in the table 253" in change
    assert advice == f"if that is as it should be: --write {path}"


def test_a_broken_rule_is_an_error_whatever_is_asked_for(quick, tmp_path, capsys):
    path = tmp_path / "registers.md"
    command.main(["--write", str(path)])
    written = path.read_text(encoding="utf-8")
    path.unlink()
    quick.append("attention/a1_naive.py: wrong")
    assert command.main(["--write", str(path)]) == 1
    assert not path.exists()
    path.write_text(written, encoding="utf-8")
    assert command.main(["--check", str(path)]) == 1
    assert command.main(["a1"]) == 1
    assert capsys.readouterr().err == "attention/a1_naive.py: wrong\n" * 3


def test_rungs_can_be_named(quick, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(examine, "examine_all", lambda root, rungs: (asked.extend(rungs) or {}, []))
    assert command.main(["a1", "c2"]) == 0
    assert asked == ["attention/a1_naive.py", "contrastive/c2_streaming.py"]
    assert command.main(["z9"]) == 2
    assert "begins with z9" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main(["a1", "--check", str(TABLE)])


def test_the_simulator_or_a_missing_compiler_is_told_in_a_sentence(monkeypatch, capsys):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert command.main([]) == 2
    assert "NUMBA_ENABLE_CUDASIM is set" in capsys.readouterr().err
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM")

    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert command.main([]) == 2
    assert capsys.readouterr().err.startswith("numba is not installed")


def test_a_table_that_is_not_there_is_told_in_a_sentence(quick, tmp_path, capsys):
    assert command.main(["--check", str(tmp_path / "none.md")]) == 2
    assert "none.md: No such file or directory; --write makes it" in capsys.readouterr().err
    assert command.main(["--write", str(tmp_path / "nowhere" / "none.md")]) == 2
    assert capsys.readouterr().err.endswith("none.md: No such file or directory\n")

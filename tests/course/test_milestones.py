"""Milestones train real models: with the library's functions, with a student's, with wrong ones."""

import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from minivlm.course import check, milestone, milestones, overlay
from minivlm.course.ask import environment
from minivlm.course.folder import fingerprint
from minivlm.course.milestone_worker import whose
from minivlm.course.milestones.m4_llava import weights_for
from minivlm.course.milestones.slopes import gradients_agree
from minivlm.course.record import catalogue, find
from minivlm.course.solved import solution
from minivlm.errors import InputError
from minivlm.nn.module import Module, parameter
from minivlm.tensor import record
from minivlm.train.parallel import one_blas_thread

FEWER = {"M2": {"steps": 120}, "M3": {"steps": 150}, "M4": {"steps": 250}, "M5": {"count": 1}}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """One folder for all, since M5 takes the model that M4 has left."""
    made = tmp_path_factory.mktemp("folder") / "pictures"
    made.mkdir()
    return made


def run(id, pictures, **options):
    """Whether it is reached, and what it said."""
    lines = []
    with one_blas_thread(), np.errstate(all="ignore"):
        reached = milestones.load(id).run(
            pictures, lines.append, np.random.default_rng(0), **options
        )
    return reached, "\n".join(lines)


@pytest.mark.parametrize("id", milestones.MODULES)
def test_a_milestone_is_reached_and_draws_one_picture(id, pictures):
    before = set(pictures.iterdir())
    reached, said = run(id, pictures, **FEWER.get(id, {}))
    assert reached, said
    (picture,) = set(pictures.iterdir()) - before
    assert picture.name == f"{id}.png"
    with Image.open(picture) as drawn:
        assert drawn.width > 500
    if id == "M4":
        assert weights_for(pictures).exists()
    if id == "M5":
        assert ("left no model that fits" in said) != weights_for(pictures).exists()


def test_the_same_seed_gives_the_same_lines(pictures):
    first, again = (run("M1", pictures, steps=9) for _ in range(2))
    assert first == again
    assert not first[0], "after nine steps"


# Wrong functions


def run_with(id, exercise, mistake, pictures, **options):
    """Run it with a known mistake in the library."""
    milestones.load(id)
    wrong = find(exercise)
    wrong.driver()
    (change,) = (change for change in wrong.mistakes if change.name == mistake)
    with overlay.replaced(check.changed(wrong, change)):
        return run(id, pictures, **options)


@pytest.mark.parametrize(
    ("id", "exercise", "mistake"),
    [
        ("M1", "E02", "never adds"),
        ("M1", "E07", "the gain is forgotten on the way back"),
        ("M2", "E10", "softmax over the queries"),
        ("M2", "E11", "no root"),
        ("M3", "E13", "the norm as a constant"),
        ("M4", "E21", "no gradient"),
    ],
)
def test_a_wrong_gradient_is_named_before_anything_is_trained(id, exercise, mistake, tmp_path):
    reached, said = run_with(id, exercise, mistake, tmp_path)
    assert not reached
    assert "is wrong: it says" in said
    assert not list(tmp_path.iterdir())


def test_patches_in_a_wrong_order_are_seen_by_where_the_attention_goes(tmp_path):
    reached, said = run_with("M2", "E08", "column by column", tmp_path, steps=60)
    assert not reached
    lie, get = map(
        int, re.search(r"Shapes lie on (\d+)% of the patches, and get (\d+)%", said).groups()
    )
    assert get < 2 * lie


def test_a_table_that_is_not_the_loss_s_table_does_not_reach_m3(tmp_path):
    reached, said = run_with("M3", "E14", "texts not normalised", tmp_path, steps=5)
    assert not reached
    assert "they do not agree" in said


def test_who_peeks_at_the_answer_pays_nothing_and_knows_nothing(tmp_path):
    reached, said = run_with("M4", "E17", "one ahead", tmp_path, steps=48)
    assert not reached
    assert "step  48 of 48: loss 0.0" in said
    assert not (tmp_path.parent / "milestones").exists()


def test_a_kernel_that_gives_something_else_does_not_reach_m5(pictures):
    reached, said = run_with("M5", "E28", "row not shrunk", pictures, count=1)
    assert not reached
    assert "Largest differences from NumPy's: outputs " in said


def test_a_gradient_that_is_no_number_is_worse_than_any():
    class Broken(Module):
        def __init__(self):
            self.first, self.second = (parameter(np.ones(3)) for _ in range(2))

    model, lines = Broken(), []

    def loss():
        broken = record(model.first.data, (model.first, lambda dy: dy * np.nan))
        return (broken * model.second).sum()

    assert not gradients_agree(model, loss, np.random.default_rng(0), lines.append)
    assert lines[0].startswith("The gradient of first is wrong: it says nan")
    np.testing.assert_array_equal(model.first.data, np.ones(3, np.float32))
    assert model.first.dtype == np.float32


# In a process of its own


def passed(folder, id, text):
    """Let a file pass without a check."""
    folder.file(find(id)).write_text(text, encoding="utf-8")
    folder.passed[id] = fingerprint(folder.file(find(id)))
    folder.save()


def test_the_first_line_says_whose_functions_they_are(folder, capfd):
    for id in ("E01", "E04", "E06"):
        passed(folder, id, solution(find(id)))
    assert milestone.run(folder, "m1") == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("M1: 4 of the ")
    assert lines[0].endswith("are yours; E00, E02, E03, E05 and E07 are the library's")
    picture = folder.path / "pictures" / "M1.png"
    assert lines[-1] == f"M1 is reached. The picture: {picture}"
    assert picture.exists()
    assert not err


@pytest.mark.parametrize(
    ("after", "lacking", "says"),
    [
        ("A", [], "all {A} functions of part A are yours"),
        ("B", ["E09"], " functions of parts A and B are yours; E09 is the library's"),
        ("D", ["E09", "E22"], " of parts A to D are yours; E09 and E22 are the library's"),
        ("A", [f"E0{n}" for n in range(1, 8)], "1 of the {A} functions of part A are yours, the"),
    ],
)
def test_the_first_line_names_what_is_the_library_s(after, lacking, says):
    total = len({text for e in catalogue().values() if e.part == "A" for text in e.targets})
    yours = [id for id in catalogue() if id not in lacking]
    assert says.format(A=total) in whose(after, yours, [])


def test_the_first_line_tells_of_none_and_of_a_variant():
    assert whose("B", [], []).startswith("none of the ")
    yours = [id for id in catalogue() if id != "E07"]
    assert whose("A", yours, ["E07"]).endswith("E07 (yours is a variant) is the library's")


def test_kernels_are_put_in_for_m5_alone_and_variants_never(folder):
    varied = next(exercise for exercise in catalogue().values() if exercise.variants)
    for id in ("E01", "E28", varied.id):
        passed(folder, id, "")
    assert "E28" not in milestone.job_for(folder, "M4").yours
    assert {"E01", "E28", varied.id} == milestone.job_for(folder, "M5").yours.keys()
    folder.seed = 1
    job = milestone.job_for(folder, "M5")
    assert varied.id not in job.yours
    assert varied.id in job.variants


def test_an_exception_is_told_with_the_student_s_line_and_nothing_of_the_library(folder, capfd):
    text = solution(find("E07"), (("y += bias", "y += offset"),))
    passed(folder, "E07", text)
    line = text.splitlines().index("    y += offset") + 1
    assert milestone.run(folder, "M1") == 1
    out, err = capfd.readouterr()
    file = folder.file(find("E07")).name
    assert f"M1 stopped in your E07: {file}, line {line}\n    y += offset\n  NameError: " in out
    assert "Traceback" not in out + err
    assert "minivlm/ops" not in out


def test_what_the_library_cannot_use_is_told_with_its_place(folder, capfd):
    passed(folder, "E05", solution(find("E05"), (("return y, softmax_dx", "return y"),)))
    assert milestone.run(folder, "M1") == 1
    out, err = capfd.readouterr()
    assert "M1 stopped in the library, at minivlm/ops/normalize.py, line " in out
    assert "One of your functions has given it what it cannot use." in out
    assert "Traceback" not in out + err


def heeds_ctrl_c():
    """A shell lets what it starts in the background ignore Ctrl-C, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("whom", [signal.SIGINT, signal.SIGKILL])
def test_when_the_command_ends_so_does_the_training(folder, whom):
    process = subprocess.Popen(
        [sys.executable, "-m", "minivlm.cli.course", "milestone", "M4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        cwd=folder.path,
        text=True,
        preexec_fn=heeds_ctrl_c,
    )
    while "gradients" not in process.stdout.readline():
        pass
    process.send_signal(whom)
    rest, err = process.communicate()  # returns when neither holds the pipes any more
    assert process.returncode == (130 if whom == signal.SIGINT else -whom)
    assert "reached" not in rest
    assert "Traceback" not in err


def test_a_milestone_that_is_none_is_bad_input(folder):
    for text in ("M6", "M0", "E10", ""):
        with pytest.raises(InputError, match="they are M1 to M5"):
            milestone.run(folder, text)

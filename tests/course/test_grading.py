"""`minivlm-course` as an instructor types it (course.md, G7 and G8)."""

import json
import os
import re
import subprocess
import sys
import zipfile
from xml.etree import ElementTree

import pytest

from minivlm.course import grade, record, start, whole
from minivlm.course.folder import Folder, variant_for
from minivlm.course.record import catalogue, find
from minivlm.course.solved import leaked, solution, solve
from minivlm.course.source import Target, function_source
from minivlm.course.whole import examine

ATTENTION = find("E10")


def test_the_course_as_a_whole_is_as_it_should_be():
    found = examine()
    assert found.complaints == []
    assert found.cpu > 1
    assert found.megabytes > 10


def test_a_course_that_is_not_as_it_should_be_is_a_complaint(monkeypatch):
    few = {e.id: e for e in (ATTENTION, find("E17"))}
    for module in (whole, start, grade):
        monkeypatch.setattr(module, "catalogue", lambda: few)
    monkeypatch.setattr(whole, "leaked", lambda page, exercise: ["a line"])
    monkeypatch.setattr(whole, "solve", unsolved)
    monkeypatch.setattr(whole, "MOST_CHECK", 0.0)
    found = examine()
    said = "\n".join([*found.complaints, *found.too_much()])
    assert "E10: its solution does not pass when it is checked" in said
    assert "E17: scores with the mistake" in said
    assert "E10: the handout says 'a line'" in said
    assert "the longest check's seconds of CPU" in said


def unsolved(folder, exercise, edits=()):
    """Does the wrong thing: E17 is always right, E10 never."""
    solve(folder, exercise, ATTENTION.mistakes[0].edits if exercise is ATTENTION else ())


def test_wrong_and_missing_files_score_nothing_in_every_format(folder, said, tmp_path):
    hidden = tmp_path / "hidden.toml"
    hidden.write_text('seeds = [3, 4]\nexercises = ["E10", "E17", "E22"]\n[points]\nE17 = 10\n')
    solve(folder, find("E17"))
    solve(folder, ATTENTION, ATTENTION.mistakes[1].edits)
    folder.file(find("E22")).unlink()
    arguments = ("grade", str(folder.path), "--hidden", str(hidden))

    out = said(*arguments)
    assert re.search(r"E17 .* 10 / 10", out)
    assert "no file e22_labels.py" in out
    assert " ".join(ATTENTION.mistakes[1].says.split()) in " ".join(out.split())

    report = tmp_path / "results.json"
    said(*arguments, "--format", "gradescope", "--output", str(report))
    tests = json.loads(report.read_text(encoding="utf-8"))["tests"]
    assert [(test["score"], test["max_score"], test["status"]) for test in tests] == [
        (0, ATTENTION.points, "failed"),
        (10, 10, "passed"),
        (0, find("E22").points, "failed"),
    ]

    suite = ElementTree.fromstring(said(*arguments, "--format", "junit").encode())
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seeds = [", "not TOML"),
        ('seeds = "3"', '"seeds"'),
        ("seeds = [-1]", "whole numbers"),
        ("colour = 1", '"colour"'),
        ('exercises = ["E99"]', "there is no exercise"),
        ("[points]\nE10 = 1.5", "whole numbers"),
    ],
)
def test_settings_that_are_none_are_one_sentence(folder, said, tmp_path, text, says):
    hidden = tmp_path / "hidden.toml"
    hidden.write_text(text)
    assert says in said("grade", str(folder.path), "--hidden", str(hidden), status=2)


def test_a_folder_that_is_not_there_is_one_sentence(said, tmp_path):
    assert "no such folder" in said("grade", str(tmp_path / "nowhere"), status=2)


def test_without_the_packages_for_kernels_one_sentence_says_so(folder, said, monkeypatch):
    monkeypatch.setattr(record, "lacking", lambda: ["numba"])
    for command in (("check", "E25"), ("grade", str(folder.path)), ("milestone", "M5")):
        out = said(*command, status=2)
        assert "needs numba, as kernels do: pip install" in out
        assert "Traceback" not in out
    said("check", "E05", status=1)


# Variants


def varied(tmp_path):
    """A seed and an exercise for which it chose a variant."""
    return next(
        (seed, e) for seed in range(1, 50) for e in catalogue().values() if variant_for(e, seed)
    )


def test_a_variant_is_asked_for_checked_and_graded(tmp_path, said, monkeypatch):
    seed, exercise = varied(tmp_path)
    made = tmp_path / "varied"
    said("start", str(made), "--variants", str(seed))
    monkeypatch.chdir(made)
    folder = Folder.open(made)
    variant = folder.variant(exercise)
    assert variant is not None
    asked = " ".join(folder.file(exercise).read_text(encoding="utf-8").split())
    assert " ".join(variant.says.split()) in asked

    solve(folder, exercise)
    out = " ".join(said("check", exercise.id, status=1).split())
    assert "This is what the library does. You are asked for a variant" in out

    solve(folder, exercise, variant.edits)
    said("check", exercise.id)
    hidden = tmp_path / "hidden.toml"
    hidden.write_text(f'variants = {seed}\nexercises = ["{exercise.id}"]\n')
    assert "100%" in said("grade", str(made), "--hidden", str(hidden))
    hidden.write_text(f'exercises = ["{exercise.id}"]\n')
    assert "0%" in said("grade", str(made), "--hidden", str(hidden))


# What is handed out


def test_a_page_with_a_solution_on_it_is_seen():
    for exercise in catalogue().values():
        assert leaked(solution(exercise), exercise), exercise.id
    assert not leaked(solution(ATTENTION), find("E15"))


def test_the_zip_for_gradescope_grades_a_folder(tmp_path, folder, said):
    hidden = tmp_path / "hidden.toml"
    hidden.write_text('seeds = [11]\nexercises = ["E10", "E17"]\n')
    said("export", "gradescope", "-o", str(tmp_path), "--hidden", str(hidden))
    root = tmp_path / "autograder"
    with zipfile.ZipFile(tmp_path / "autograder.zip") as zipped:
        zipped.extractall(root / "source")
    solve(folder, ATTENTION)
    (root / "submission").symlink_to(folder.path)
    subprocess.run(
        ["bash", str(root / "source" / "run_autograder")],
        env={"PATH": os.environ["PATH"], "AUTOGRADER": str(root), "PYTHON": sys.executable},
        cwd=root,
        check=True,
        capture_output=True,
    )
    tests = json.loads((root / "results" / "results.json").read_text(encoding="utf-8"))["tests"]
    assert [test["status"] for test in tests] == ["passed", "failed"]


def test_the_same_export_is_the_same_zip(tmp_path, said):
    for name in ("one", "two"):
        said("export", "gradescope", "-o", str(tmp_path / name))
    one, two = ((tmp_path / name / "autograder.zip").read_bytes() for name in ("one", "two"))
    assert one == two


# For authors


def test_author_check_and_mutants_say_what_they_saw(said):
    assert "1 exercises" in said("author", "check", "E17")
    out = said("author", "mutants", "E17")
    assert "100.0% of" in out


def test_a_solution_is_the_librarys_source_with_its_place(folder, said):
    out = said("solution", "E17", "--give-up")
    assert function_source(Target.parse(find("E17").targets[0])).rstrip() in out
    assert re.search(r"# .*attention\.py:\d+", out)
    assert "solution seen" in said("list")

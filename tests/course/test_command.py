"""`minivlm-course` as its users type it (course.md, G7 to G9)."""

import json
import os
import pty
import re
import subprocess
import sys
import time
import zipfile
from xml.etree import ElementTree

import pytest

from minivlm.cli.course import main
from minivlm.course.folder import Folder
from minivlm.course.record import catalogue, find
from minivlm.course.source import Target, function_source
from tests.course.solved import body, new_folder, solution, solve

ATTENTION = find("E10")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    made = new_folder(tmp_path)
    monkeypatch.chdir(made.path)
    return made


def said(capsys, *arguments, status=0):
    """What a command prints, on both streams, and that it ends with that status."""
    assert main(arguments) == status
    captured = capsys.readouterr()
    return captured.out + captured.err


def write(folder, exercise, text):
    folder.file(exercise).write_text(text, encoding="utf-8")


# Where a student begins


def test_start_makes_a_file_for_each_exercise_and_tells_what_to_type(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = said(capsys, "start", "course of mine")
    assert 'cd "course of mine"' in out
    made = tmp_path / "course of mine"
    assert len(list(made.glob("e[0-9][0-9]_*.py"))) == len(catalogue())
    assert "tutor" in (made / "AGENTS.md").read_text()
    launch = json.loads((made / ".vscode" / "launch.json").read_text())
    assert launch["configurations"][0]["module"] == "minivlm.cli.course"
    assert not list(tmp_path.glob(".*"))


def test_start_never_writes_over_anything(tmp_path, capsys, folder):
    assert "is a course folder already" in said(capsys, "start", str(folder.path), status=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    assert "not empty" in said(capsys, "start", str(tmp_path / "full"), status=2)
    assert "is no folder" in said(capsys, "start", str(tmp_path / "no" / "where"), status=2)
    assert (tmp_path / "full" / "letter.txt").read_text() == "dear"


def test_outside_of_a_course_folder_one_sentence_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("next", "list", "check"):
        assert "minivlm-course start DIR" in said(capsys, command, status=2)


def test_a_stub_reads_like_a_page(folder):
    text = folder.file(ATTENTION).read_text(encoding="utf-8")
    assert text.startswith('"""E10 · Masked attention  (25 minutes')
    assert "minivlm-course check E10" in text
    assert text.count("raise NotImplementedError") == 1
    for file in folder.path.glob("e*.py"):
        compile(file.read_text(encoding="utf-8"), str(file), "exec")


# From a wrong answer to a right one


def test_a_students_whole_way(folder, capsys):
    assert "not written yet" in said(capsys, "check", "E10", status=1)

    write(folder, ATTENTION, solution(ATTENTION, ATTENTION.mistakes[0].edits))
    out = said(capsys, "check", "E10", status=1)
    lines = out.splitlines()
    functions = sum(len(exercise.targets) for exercise in catalogue().values())
    assert lines[0] == f"e10_attention.py: 1 of {functions} functions are yours"
    assert re.match(r"E10 attention  FAIL  Q \(1, 1, 3, 2\)  K \(1, 1, 5, 2\)  mask None", lines[1])
    assert re.match(
        r"  weights\[0, 0, 0, 0\] = \S+, expected \S+    \(largest error .*float64\)", lines[2]
    )
    assert ATTENTION.mistakes[0].says in " ".join(out.split())
    assert "minivlm-course check E10 --show" in out
    assert "Hint 1 of 3: minivlm-course hint E10" in out

    for number in (1, 2, 3, 3):
        assert f"hint {number} of 3" in said(capsys, "hint", "e10")
    assert "has not passed yet" in said(capsys, "solution", "E10", status=2)

    write(folder, ATTENTION, solution(ATTENTION))
    out = said(capsys, "check", str(folder.file(ATTENTION)))
    assert "E10 attention  PASS" in out
    assert "Next: E00" in out
    assert "def attention_weights" in said(capsys, "solution", "E10")
    assert re.search(r"E10 .*passed", said(capsys, "list"))


def test_a_file_that_was_edited_since_has_to_pass_again(folder, capsys):
    solve(folder, ATTENTION)
    said(capsys, "check", "E10")
    assert Folder.open(folder.path).is_passed(ATTENTION)
    write(folder, ATTENTION, solution(ATTENTION) + "\n# a thought\n")
    assert "changed since it passed" in said(capsys, "list")
    write(folder, ATTENTION, solution(ATTENTION, ATTENTION.mistakes[0].edits))
    said(capsys, "check", "E10", status=1)
    assert "changed since" not in said(capsys, "list")


def test_what_has_passed_is_in_the_library_for_later_exercises(folder, capsys):
    exercise = find("E17")
    text = solution(exercise).replace("    return ", "    print('mine')\n    return ", 1)
    write(folder, exercise, text)
    said(capsys, "check", "E17")
    later = find("E18")  # whose attention is causal
    solve(folder, later)
    out = said(capsys, "check", "E18")
    functions = len(exercise.targets) + len(later.targets)
    assert f"{functions} of " in out
    assert "it printed:" in out
    assert "mine" in out


def test_an_error_in_a_students_line_is_told_with_the_line(folder, capsys):
    text = solution(ATTENTION).replace("    R = H // G", "    R = H // nothing")
    write(folder, ATTENTION, text)
    out = said(capsys, "check", "E10", status=1)
    line = next(n for n, words in enumerate(text.splitlines(), 1) if "nothing" in words)
    assert "NameError" in out
    assert f"line {line}" in out
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def attention_weights(:\n", "SyntaxError"),
        ("x = 1\n", "there is no function attention_weights"),
    ],
)
def test_a_file_that_is_no_solution_at_all_is_told_so(folder, capsys, text, says):
    write(folder, ATTENTION, text)
    assert says in said(capsys, "check", "E10", status=1)


def test_a_changed_input_is_told(folder, capsys):
    text = solution(ATTENTION).replace("    R = H // G", "    K *= 2.0\n    R = H // G")
    write(folder, ATTENTION, text)
    assert "it changes its input K" in said(capsys, "check", "E10", status=1)


def test_bad_names_are_one_sentence(folder, capsys):
    assert "there is no exercise 'E77'" in said(capsys, "check", "E77", status=2)
    folder.file(ATTENTION).unlink()
    assert "minivlm-course reset E10" in said(capsys, "check", "E10", status=2)
    (folder.path / "course.json").write_text("[]")
    assert "not the state of a course" in said(capsys, "list", status=2)


def test_reset_keeps_what_was_written(folder, capsys):
    solve(folder, ATTENTION)
    assert "e10_attention.old1.py" in said(capsys, "reset", "E10")
    assert "raise NotImplementedError" in folder.file(ATTENTION).read_text(encoding="utf-8")
    assert (folder.path / "e10_attention.old1.py").read_text(encoding="utf-8") == solution(
        ATTENTION
    )
    assert "old" not in said(capsys, "reset", "E10")


def test_show_draws_what_differs(folder, capsys):
    write(folder, ATTENTION, solution(ATTENTION, ATTENTION.mistakes[0].edits))
    assert "E10.png" in said(capsys, "check", "E10", "--show", status=1)
    assert (folder.path / "pictures" / "E10.png").read_bytes().startswith(b"\x89PNG")


def test_doctor_finds_a_file_that_python_cannot_read(folder, capsys):
    assert "missing" not in said(capsys, "doctor")
    write(folder, ATTENTION, "def attention_weights(:\n")
    folder.file(find("E17")).unlink()
    out = said(capsys, "doctor", status=1)
    assert "e10_attention.py, line 1" in out
    assert "minivlm-course reset E17" in out


def test_watch_checks_again_when_the_file_is_saved(folder):
    command = [sys.executable, "-u", "-m", "minivlm.cli.course", "check", "E10", "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        try:
            next(line for line in process.stdout if "waiting" in line)
            solve(folder, ATTENTION)
            assert "PASS" in process.stdout.read()
            assert process.wait() == 0
        finally:
            process.kill()


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_pdb_stops_in_the_students_function(folder):
    write(folder, ATTENTION, solution(ATTENTION, ATTENTION.mistakes[0].edits))
    command = [sys.executable, "-m", "minivlm.cli.course", "check", "E10", "--pdb"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    seen, told = b"", False
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            break
        if not told and seen.endswith(b"(Pdb) "):
            os.write(terminal, b"p Q.shape\nq\n")
            told = True
    os.waitpid(pid, 0)
    text = seen.decode()
    assert re.search(r"> .*my course ü.*e10_attention\.py\(\d+\)attention_weights\(\)", text)
    assert "(1, 1, 3, 2)" in text


# Grading


def test_the_whole_course_solved_is_a_hundred_percent(folder, capsys):
    for exercise in catalogue().values():
        solve(folder, exercise)
    out = said(capsys, "grade", str(folder.path), "--seed", "7")
    points = sum(exercise.points for exercise in catalogue().values())
    assert f"{points} / {points}" in out
    assert "100%" in out


def test_wrong_and_missing_files_score_nothing_in_every_format(folder, capsys, tmp_path):
    hidden = tmp_path / "hidden.toml"
    hidden.write_text('seeds = [3, 4]\nexercises = ["E10", "E17", "E22"]\n[points]\nE17 = 10\n')
    solve(folder, find("E17"))
    write(folder, ATTENTION, solution(ATTENTION, ATTENTION.mistakes[1].edits))
    folder.file(find("E22")).unlink()
    arguments = ("grade", str(folder.path), "--hidden", str(hidden))

    out = said(capsys, *arguments)
    assert re.search(r"E17 .* 10 / 10", out)
    assert "no file e22_labels.py" in out
    assert " ".join(ATTENTION.mistakes[1].says.split()) in " ".join(out.split())

    report = tmp_path / "results.json"
    said(capsys, *arguments, "--format", "gradescope", "--output", str(report))
    tests = json.loads(report.read_text(encoding="utf-8"))["tests"]
    assert [(test["score"], test["max_score"], test["status"]) for test in tests] == [
        (0, ATTENTION.points, "failed"),
        (10, 10, "passed"),
        (0, find("E22").points, "failed"),
    ]

    suite = ElementTree.fromstring(said(capsys, *arguments, "--format", "junit").encode())
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
def test_settings_that_are_none_are_one_sentence(folder, capsys, tmp_path, text, says):
    hidden = tmp_path / "hidden.toml"
    hidden.write_text(text)
    assert says in said(capsys, "grade", str(folder.path), "--hidden", str(hidden), status=2)


def test_a_folder_that_is_not_there_is_one_sentence(capsys, tmp_path):
    assert "no such folder" in said(capsys, "grade", str(tmp_path / "nowhere"), status=2)


# Variants


def varied(tmp_path):
    """A seed and an exercise for which it chose a variant."""
    from minivlm.course.folder import variant_for

    return next(
        (seed, e) for seed in range(1, 50) for e in catalogue().values() if variant_for(e, seed)
    )


def test_a_variant_is_asked_for_checked_and_graded(tmp_path, capsys, monkeypatch):
    seed, exercise = varied(tmp_path)
    made = tmp_path / "varied"
    said(capsys, "start", str(made), "--variants", str(seed))
    monkeypatch.chdir(made)
    folder = Folder.open(made)
    variant = folder.variant(exercise)
    assert variant is not None
    asked = " ".join(folder.file(exercise).read_text(encoding="utf-8").split())
    assert " ".join(variant.says.split()) in asked

    solve(folder, exercise)
    out = " ".join(said(capsys, "check", exercise.id, status=1).split())
    assert "This is what the library does. You are asked for a variant" in out

    write(folder, exercise, solution(exercise, variant.edits))
    said(capsys, "check", exercise.id)
    hidden = tmp_path / "hidden.toml"
    hidden.write_text(f'variants = {seed}\nexercises = ["{exercise.id}"]\n')
    assert "100%" in said(capsys, "grade", str(made), "--hidden", str(hidden))
    hidden.write_text(f'exercises = ["{exercise.id}"]\n')
    assert "0%" in said(capsys, "grade", str(made), "--hidden", str(hidden))


# What is handed out


def test_a_handout_holds_no_solution(tmp_path, capsys):
    said(capsys, "export", "handout", "-o", str(tmp_path))
    pages = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (tmp_path / "minivlm-course").rglob("*")
        if path.is_file()
    )
    for exercise in catalogue().values():
        for target in map(Target.parse, exercise.targets):
            lines = "\n".join(body(target))
            assert lines not in pages, target
            code = [line.strip() for line in body(target) if len(line.strip()) > 30]
            shown = [line for line in code if line in pages and not line.startswith(("#", '"'))]
            assert len(shown) <= len(code) // 3, (target, shown)


def test_the_zip_for_gradescope_grades_a_folder(tmp_path, folder, capsys):
    hidden = tmp_path / "hidden.toml"
    hidden.write_text('seeds = [11]\nexercises = ["E10", "E17"]\n')
    said(capsys, "export", "gradescope", "-o", str(tmp_path), "--hidden", str(hidden))
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


def test_the_same_export_is_the_same_zip(tmp_path, capsys):
    for name in ("one", "two"):
        said(capsys, "export", "gradescope", "-o", str(tmp_path / name))
    one, two = ((tmp_path / name / "autograder.zip").read_bytes() for name in ("one", "two"))
    assert one == two


# For authors


def test_author_check_and_mutants_say_what_they_saw(capsys):
    assert "1 exercises" in said(capsys, "author", "check", "E17")
    out = said(capsys, "author", "mutants", "E17")
    assert "100.0% of" in out


def test_a_solution_is_the_librarys_source_with_its_place(folder, capsys):
    out = said(capsys, "solution", "E17", "--give-up")
    assert function_source(Target.parse(find("E17").targets[0])).rstrip() in out
    assert re.search(r"# .*attention\.py:\d+", out)
    assert "solution seen" in said(capsys, "list")

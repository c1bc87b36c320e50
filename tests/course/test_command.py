"""`minivlm-course` as a student types it."""

import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from minivlm.course.folder import Folder, fingerprint
from minivlm.course.record import catalogue, find
from minivlm.course.solved import solution, solve

ATTENTION = find("E10")


# Where a student begins


def test_start_makes_a_file_for_each_exercise_and_tells_what_to_type(tmp_path, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = said("start", "course of mine")
    assert 'cd "course of mine"' in out
    made = tmp_path / "course of mine"
    assert len(list(made.glob("e[0-9][0-9]_*.py"))) == len(catalogue())
    assert "tutor" in (made / "AGENTS.md").read_text()
    launch = json.loads((made / ".vscode" / "launch.json").read_text())
    assert launch["configurations"][0]["module"] == "minivlm.cli.course"
    assert not list(tmp_path.glob(".*"))


def test_start_never_writes_over_anything(tmp_path, said, folder):
    assert "is a course folder already" in said("start", str(folder.path), status=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    assert "not empty" in said("start", str(tmp_path / "full"), status=2)
    assert "is no folder" in said("start", str(tmp_path / "no" / "where"), status=2)
    assert (tmp_path / "full" / "letter.txt").read_text() == "dear"


def test_outside_of_a_course_folder_one_sentence_says_what_to_do(tmp_path, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("next", "list", "check"):
        assert "minivlm-course start DIR" in said(command, status=2)


def test_a_stub_reads_like_a_page(folder):
    text = folder.file(ATTENTION).read_text(encoding="utf-8")
    assert text.startswith('"""E10 · Masked attention  (25 minutes')
    assert "minivlm-course check E10" in text
    assert text.count("raise NotImplementedError") == 1
    for file in folder.path.glob("e*.py"):
        compile(file.read_text(encoding="utf-8"), str(file), "exec")


# From a wrong answer to a right one


def test_a_students_whole_way(folder, said):
    assert "not written yet" in said("check", "E10", status=1)

    solve(folder, ATTENTION, ATTENTION.mistakes[0].edits)
    out = said("check", "E10", status=1)
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
        assert f"hint {number} of 3" in said("hint", "e10")
    assert "has not passed yet" in said("solution", "E10", status=2)

    solve(folder, ATTENTION)
    out = said("check", str(folder.file(ATTENTION)))
    assert "E10 attention  PASS" in out
    assert "Next: E00" in out
    assert "def attention_weights" in said("solution", "E10")
    assert re.search(r"E10 .*passed", said("list"))


def test_when_everything_has_passed_next_and_list_say_so(folder, said):
    for exercise in catalogue().values():
        folder.passed[exercise.id] = fingerprint(folder.file(exercise))
    folder.save()
    assert "Every exercise has passed" in said("next")
    assert f"{len(catalogue())} of {len(catalogue())} exercises" in said("list")


def test_a_file_that_was_edited_since_has_to_pass_again(folder, said):
    solve(folder, ATTENTION)
    said("check", "E10")
    assert Folder.open(folder.path).is_passed(ATTENTION)
    folder.file(ATTENTION).write_text(solution(ATTENTION) + "\n# a thought\n", encoding="utf-8")
    assert "changed since it passed" in said("list")
    solve(folder, ATTENTION, ATTENTION.mistakes[0].edits)
    said("check", "E10", status=1)
    assert "changed since" not in said("list")


def test_what_has_passed_is_in_the_library_for_later_exercises(folder, said):
    exercise = find("E17")
    text = solution(exercise).replace("    return ", "    print('mine')\n    return ", 1)
    folder.file(exercise).write_text(text, encoding="utf-8")
    said("check", "E17")
    later = find("E18")  # whose attention is causal
    solve(folder, later)
    out = said("check", "E18")
    functions = len(exercise.targets) + len(later.targets)
    assert f"{functions} of " in out
    assert "it printed:" in out
    assert "mine" in out


def test_an_error_in_a_students_line_is_told_with_the_line(folder, said):
    text = solution(ATTENTION).replace("    R = H // G", "    R = H // nothing")
    folder.file(ATTENTION).write_text(text, encoding="utf-8")
    out = said("check", "E10", status=1)
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
def test_a_file_that_is_no_solution_at_all_is_told_so(folder, said, text, says):
    folder.file(ATTENTION).write_text(text, encoding="utf-8")
    assert says in said("check", "E10", status=1)


def test_a_mistake_has_its_name_also_beside_a_forgotten_error(folder, said):
    exercise = find("E08")
    mistake = exercise.mistakes[1]
    forgotten = ("    if height % side or width % side:\n", "    if False:\n")
    solve(folder, exercise, (*mistake.edits, forgotten))
    assert " ".join(mistake.says.split()) in " ".join(said("check", "E08", status=1).split())


def test_of_several_functions_the_one_that_is_missing_is_named(folder, said):
    exercise = find("E12")
    text = solution(exercise)
    half = text[: text.index("B, _, T, _ = x.shape")] + "raise NotImplementedError\n"
    folder.file(exercise).write_text(half, encoding="utf-8")
    assert "merge is not written yet (line " in said("check", "E12", status=1)


def test_a_changed_input_is_told(folder, said):
    text = solution(ATTENTION).replace("    R = H // G", "    K *= 2.0\n    R = H // G")
    folder.file(ATTENTION).write_text(text, encoding="utf-8")
    assert "it changes its input K" in said("check", "E10", status=1)


def test_bad_names_are_one_sentence(folder, said):
    assert "there is no exercise 'E77'" in said("check", "E77", status=2)
    folder.file(ATTENTION).unlink()
    assert "minivlm-course reset E10" in said("check", "E10", status=2)
    (folder.path / "course.json").write_text("[]")
    assert "not the state of a course" in said("list", status=2)


def test_reset_keeps_what_was_written(folder, said):
    solve(folder, ATTENTION)
    assert "e10_attention.old1.py" in said("reset", "E10")
    assert "raise NotImplementedError" in folder.file(ATTENTION).read_text(encoding="utf-8")
    assert (folder.path / "e10_attention.old1.py").read_text(encoding="utf-8") == solution(
        ATTENTION
    )
    assert "old" not in said("reset", "E10")


def test_show_draws_what_differs(folder, said):
    solve(folder, ATTENTION, ATTENTION.mistakes[0].edits)
    assert "E10.png" in said("check", "E10", "--show", status=1)
    assert (folder.path / "pictures" / "E10.png").read_bytes().startswith(b"\x89PNG")


def test_doctor_finds_a_file_that_python_cannot_read(folder, said):
    assert "missing" not in said("doctor")
    folder.file(ATTENTION).write_text("def attention_weights(:\n", encoding="utf-8")
    folder.file(find("E17")).unlink()
    out = said("doctor", status=1)
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
    solve(folder, ATTENTION, ATTENTION.mistakes[0].edits)
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

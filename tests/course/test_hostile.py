"""Files that would rather not be graded: each scores 0, and the rest stays graded."""

import pytest

from minivlm.course import check
from minivlm.course.ask import Asked
from minivlm.course.compare import Failed
from minivlm.course.grade import Settings, grade
from minivlm.course.record import catalogue, find
from minivlm.course.solved import solution, solve
from minivlm.course.source import Target
from minivlm.course.start import start

EXERCISE = find("E10")
RIGHT = solution(EXERCISE)
STUB = RIGHT[: RIGHT.index("    B, H, T, C = Q.shape")]


def verdict(tmp_path, text, graded=True, seconds=3):
    file = tmp_path / f"{EXERCISE.stem}.py"
    file.write_text(text, encoding="utf-8")
    return check.verdict(
        EXERCISE, Asked(EXERCISE, file, seed=5, graded=graded, seconds=seconds), 5, None
    )


def with_body(*lines):
    return STUB + "".join(f"    {line}\n" for line in lines)


def before(*lines):
    """A right solution, with something done first."""
    return RIGHT + "\n" + "\n".join(lines) + "\n"


def test_a_right_file_passes_so_what_fails_below_fails_for_its_trick(tmp_path):
    assert verdict(tmp_path, RIGHT).passed
    assert verdict(tmp_path, before("print('hello')", "import math, scipy.special")).passed


WRONG = {
    "ends the process": with_body("import os", "os._exit(0)"),
    "leaves": with_body("raise SystemExit(0)"),
    "skips": with_body("import pytest", "pytest.skip('not today')"),
    "prints a result": with_body("print('E10 attention  PASS  10 cases')"),
    "patches what compares": with_body(
        "np.allclose = np.array_equal = lambda *a, **k: True",
        "return Q[..., :1] @ K.mT[..., :1, :]",
    ),
    "patches the driver": with_body(
        "import sys",
        "driver = sys.modules['minivlm.course.exercises.e10_attention']",
        "driver.run = lambda case: {}",
        "return Q",
    ),
    "raises": with_body("raise ValueError('no')"),
    "returns nothing": with_body("return None"),
    "returns an object": with_body("return np.array([object()])"),
    "calls the library's": "from minivlm.ops.attention import attention_weights\n",
    "hands in what inspect shows of it": (
        "import inspect, math\nimport numpy as np\nimport minivlm.ops.attention as m\n"
        "from minivlm.tensor import Array\nexec(inspect.getsource(m.attention_weights))\n"
    ),
    "imports it again": with_body(
        "import importlib, minivlm.ops.attention as m",
        "return importlib.reload(m).attention_weights(Q, K, mask)",
    ),
}
FORBIDDEN = {
    "reads the library": before("import minivlm.ops.attention as m", "open(m.__file__).read()"),
    "reads its source by inspect": before(
        "import inspect, minivlm.ops.normalize as m", "inspect.getsource(m)"
    ),
    "asks the course for the reference": before(
        "from minivlm.course import source",
        "source.function_source(source.Target.parse('minivlm.ops.attention:attention_weights'))",
    ),
    "starts a process": before("import subprocess, sys", "subprocess.run([sys.executable])"),
    "forks": before("import os", "os.fork()"),
    "opens a socket": before("import socket", "socket.create_connection(('127.0.0.1', 9))"),
    "writes a file": before("open(__file__ + '.txt', 'w')"),
    "removes a file": before("import os", "os.remove(__file__)"),
    "loads a library of C": before("import ctypes", "ctypes.CDLL(None)"),
    "uses another framework": before("import torch"),
    "takes the guard away": before("import sys", "sys.addaudithook(print)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_trick_does_not_pass(tmp_path, name):
    assert not verdict(tmp_path, WRONG[name]).passed


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_no_solution_needs_ends_in_a_sentence_that_says_so(tmp_path, name):
    found = verdict(tmp_path, FORBIDDEN[name])
    assert isinstance(found.got, Failed)
    assert found.got.kind == "Forbidden"
    assert "which no solution needs" in check.summary(found)


def test_the_same_file_may_do_so_when_a_student_checks_it_at_home(tmp_path):
    assert verdict(tmp_path, before("open(__file__).read()"), graded=False).passed


def test_a_loop_without_end_is_ended(tmp_path):
    found = verdict(tmp_path, with_body("while True:", "    pass"), seconds=1)
    assert "does a loop never end?" in check.summary(found)


def test_ten_gigabytes_are_not_given(tmp_path):
    found = verdict(tmp_path, with_body("return np.ones(10 * 2**30 // 8)"))
    assert "MemoryError" in check.summary(found)


def test_a_flood_of_words_is_cut(tmp_path):
    found = verdict(tmp_path, before("print('x' * 10**8)"))
    assert len(found.printed) <= 2000


def test_a_feedback_does_not_tell_what_was_expected(tmp_path):
    found = verdict(tmp_path, solution(EXERCISE, EXERCISE.mistakes[0].edits))
    assert "expected" in check.summary(found)
    hidden = check.summary(found, hidden=True)
    assert "expected" not in hidden
    assert EXERCISE.mistakes[0].says in " ".join(hidden.split())


def test_one_hostile_file_leaves_the_rest_graded(tmp_path):
    folder = start(tmp_path / "a folder")
    chosen = [find(text) for text in ("E17", "E10", "E22")]
    for exercise in chosen:
        solve(folder, exercise)
    folder.file(EXERCISE).write_text(WRONG["ends the process"], encoding="utf-8")
    marks = list(grade(folder.path, Settings(exercises=("E10", "E17", "E22"))))
    assert [(mark.exercise.id, mark.passed) for mark in marks] == [
        ("E10", False),
        ("E17", True),
        ("E22", True),
    ]
    assert [mark.score for mark in marks] == [0, marks[1].most, marks[2].most]


def the_librarys(exercise):
    """A file that hands in the library's own functions."""
    plain, classes = ["from importlib import import_module"], {}
    for target in map(Target.parse, exercise.targets):
        module, name = f"import_module({target.module!r})", target.name
        if target.owner is None:
            plain.append(f"{name} = {module}.{name}")
        else:
            own = f"    {name} = vars({module}.{target.owner})[{name!r}]"
            classes.setdefault(f"class {target.owner}:", []).append(own)
    for head, body in classes.items():
        plain += [head, *body]
    return "\n".join(plain) + "\n"


EVERY = [(id, False) for id in catalogue()] + [(f"E0{n}", True) for n in range(5)]


@pytest.mark.parametrize(("id", "graded"), EVERY)
def test_the_librarys_own_functions_have_no_body_to_hand_in(tmp_path, id, graded):
    exercise = find(id)
    file = tmp_path / f"{exercise.stem}.py"
    file.write_text(the_librarys(exercise), encoding="utf-8")
    asked = Asked(exercise, file, seed=5, graded=graded, seconds=3)
    found = check.verdict(exercise, asked, 5, None)
    assert not found.passed
    assert isinstance(found.got, Failed)
    assert found.got.kind in ("LibrarysOwn", "RecursionError")  # where it dispatches, to itself

"""docs/stepping.md shows what debuggers say today, and the editor's entries start."""

import importlib.util
import json
import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE = (DOCS / "stepping.md").read_text(encoding="utf-8")
LAUNCH = json.loads((ROOT / ".vscode" / "launch.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def stepping():
    return runpy.run_path(str(DOCS / "stepping.py"))


def comparable(text):
    """Without what differs between machines, the digits of floats, and between Pythons.

    From 3.13 on, `breakpoint()` stops at its own line and not at the next.
    """
    lines = re.sub(r"-?\d+\.\d*(e[+-]\d+)?", "#", text).splitlines()
    if sys.version_info >= (3, 13):
        lines = [line for line in lines if not line.startswith(("> ", "-> "))]
    return [" ".join(line.split()) for line in lines]


def test_every_session_of_the_page_says_what_is_written_there(stepping):
    assert len(stepping["sessions"](PAGE)) == PAGE.count("```console") == 7
    assert comparable(stepping["written"](PAGE)) == comparable(PAGE)
    assert "*** " not in PAGE  # what pdb puts before an error


def test_a_page_that_is_out_of_date_is_seen_and_mended(stepping):
    old = "```console\n$ python -c \"\nprint('new', 1.5)\n\"\nold 1.25\n```\n"
    new = old.replace("old 1.25", "new 1.5")
    assert stepping["written"](old) == new
    assert comparable(old) != comparable(new)
    assert comparable(new) == comparable(new.replace("1.5", "-2.25e-07"))


def test_a_session_whose_command_fails_or_that_asks_too_often_is_an_error(stepping, tmp_path):
    with pytest.raises(RuntimeError, match="ended with 3"):
        stepping["run"]("$ python -c 'raise SystemExit(3)'\n", tmp_path)
    with pytest.raises(RuntimeError, match="asked 0 times, for 1 lines"):
        stepping["run"]("$ python -c 'pass'\n(Pdb) n\n", tmp_path)


def test_the_kernel_to_walk_through_runs_and_nothing_is_found(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["one_kernel.py"])
    runpy.run_path(str(DOCS / "one_kernel.py"))
    said = capsys.readouterr().out
    assert "flash_forward.kernel, (1, 2, 1) blocks of (4, 1, 1) threads" in said
    assert said.endswith("nothing found\n")


def test_the_editors_entries_name_what_there_is_and_stand_on_the_page():
    for entry in LAUNCH["configurations"]:
        assert f"| {entry['name']} |" in PAGE
        if "program" in entry:
            assert Path(entry["program"].replace("${workspaceFolder}", str(ROOT))).is_file()
        else:
            assert importlib.util.find_spec(entry["module"])
    assert PAGE.count("\n| ") - 1 == len(LAUNCH["configurations"])

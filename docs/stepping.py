"""Writes what debuggers say into docs/stepping.md, by running every session that stands there.

    python docs/stepping.py

A session is a block that begins with `$ python`; the lines after "(Pdb) " are typed, all others are
replaced by what comes out. A block whose first line is `# name.py` is a script that sessions run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "stepping.md"
PROMPT = "(Pdb) "


def sessions(page: str) -> list[str]:
    """The blocks of a page that are sessions."""
    return re.findall(r"^```console\n(\$ python.*?\n)```$", page, re.DOTALL | re.MULTILINE)


def scripts(page: str) -> dict[str, str]:
    """The scripts that a page shows, by their names."""
    found = re.findall(r"^```python\n# (\w+\.py)\n(.*?)```$", page, re.DOTALL | re.MULTILINE)
    return {name: f"# {name}\n{text}" for name, text in found}


def command_of(session: str) -> str:
    """What a session begins with, without the "$ "; in quotes it may go on over lines."""
    lines = session.splitlines()
    for count in range(1, len(lines) + 1):
        command = "\n".join(lines[:count])
        try:
            shlex.split(command)
        except ValueError:  # a quote is open
            continue
        return command.removeprefix("$ ")
    raise ValueError(f"a quote stays open in {session!r}")


def run(session: str, folder: Path) -> str:
    """The same session, with what comes out now.

    Args:
        session: a block of the page.
        folder: has the page's scripts.

    Raises:
        RuntimeError: the command failed.
    """
    command = command_of(session)
    made = {path.name: str(path) for path in folder.iterdir()}
    words = [made.get(word, word) for word in shlex.split(command)]
    typed = [line.removeprefix(PROMPT) for line in session.splitlines() if line.startswith(PROMPT)]
    environment = {**os.environ, "PYTHONUTF8": "1", "NO_COLOR": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    for name in ("NUMBA_ENABLE_CUDASIM", "PYTHONBREAKPOINT"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *words[1:]],
        input="".join(f"{line}\n" for line in typed),
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    said = done.stdout
    for place in (ROOT, folder.resolve(), folder):
        said = said.replace(f"{place}{os.sep}", "")
    first, *answers = said.split(PROMPT)
    if len(answers) != len(typed):
        raise RuntimeError(f"{command} asked {len(answers)} times, for {len(typed)} lines:\n{said}")
    parts = [f"$ {command}\n", first]
    for line, answer in zip(typed, answers, strict=True):
        parts += [f"{PROMPT}{line}\n", answer]
    return "".join(parts)


def written(page: str) -> str:
    """The page with every session as it runs now."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name, text in scripts(page).items():
            (folder / name).write_text(text, encoding="utf-8")
        for session in sessions(page):
            page = page.replace(session, run(session, folder))
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

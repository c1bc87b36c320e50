"""Writes what the commands of the course say into docs/course.md, by taking a student's way.

    python docs/course.py

In a `console` block, each line that begins with "$ " is run, in order and in one folder; what comes
out takes the place of what stands below it. A `python` block whose first line is
`# in e05_softmax.py` is what the student writes below that file's imports.
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
PAGE = ROOT / "docs" / "course.md"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Student:
    """Somebody who types what the page says."""

    def __init__(self, home: Path):
        self.home = self.place = home

    def types(self, command: str) -> str:
        """A command's output, with its errors and without the names of folders.

        Raises:
            RuntimeError: it is a command that the page's reader does not have, or it broke.
        """
        name, *arguments = shlex.split(command)
        if name == "cd":
            self.place = self.place / arguments[0]
            return ""
        if name != "minivlm-course":
            raise RuntimeError(f"the page types {command!r}")
        environment = {**os.environ, "PYTHONUTF8": "1", "COLUMNS": "100"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
        done = subprocess.run(
            [sys.executable, "-m", "minivlm.cli.course", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            cwd=self.place,
            env=environment,
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}")
        said = done.stdout.replace(f"{ROOT}{os.sep}", "")
        for folder in (self.home.resolve(), self.home):
            said = said.replace(f"{folder}{os.sep}", "")
        return said

    def writes(self, code: str) -> None:
        """What stands below a file's imports from now on."""
        first, rest = code.split("\n", 1)
        file = self.place / first.removeprefix("# in ")
        text = file.read_text(encoding="utf-8")
        until = re.search(r"^(def|class|@)", text, re.MULTILINE)
        assert until is not None
        file.write_text(text[: until.start()] + rest, encoding="utf-8")


def written(page: str) -> str:
    """The page with every command's output as it is now."""
    with tempfile.TemporaryDirectory() as made:
        student = Student(Path(made))

        def block(found: re.Match[str]) -> str:
            kind, text = found.groups()
            if kind == "python":
                if text.startswith("# in "):
                    student.writes(text)
                return found[0]
            typed = [line for line in text.splitlines() if line.startswith("$ ")]
            out = [f"{line}\n{student.types(line.removeprefix('$ '))}" for line in typed]
            return f"```console\n{''.join(out)}```"

        return BLOCK.sub(block, page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

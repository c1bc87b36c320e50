"""A student's folder to be in, and the command to type there."""

import pytest

from minivlm.cli.course import main
from minivlm.course.start import start


@pytest.fixture
def folder(tmp_path, monkeypatch):
    made = start(tmp_path / "my course ü")  # a name that a careless split would stumble over
    monkeypatch.chdir(made.path)
    return made


@pytest.fixture
def said(capsys):
    """What a command prints, on both streams, and that it ends with a status."""

    def run(*arguments, status=0):
        assert main(arguments) == status
        captured = capsys.readouterr()
        return captured.out + captured.err

    return run

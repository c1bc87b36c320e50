"""In CI, skipped is not passed: the hooks of conftest.py, seen from outside."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = {
    "a test": 'import pytest\n\ndef test_it():\n    pytest.skip("no oracle")\n',
    "a file": 'import pytest\npytest.importorskip("no_such_oracle")\n\ndef test_it():\n    pass\n',
}


def run(folder: Path, source: str, ci: str) -> subprocess.CompletedProcess:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_skips.py").write_text(source + "\ndef test_that_passes():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder]
    environment = os.environ | {"CI": ci}
    return subprocess.run(
        [*command, folder], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("what", SKIPS)
def test_what_skips_itself_fails_in_ci_and_says_why(tmp_path, what):
    done = run(tmp_path, SKIPS[what], ci="true")
    assert done.returncode != 0
    assert "in CI skipped is not passed" in done.stdout


@pytest.mark.parametrize("what", SKIPS)
def test_elsewhere_it_is_skipped(tmp_path, what):
    done = run(tmp_path, SKIPS[what], ci="")
    assert "1 skipped" in done.stdout
    assert "failed" not in done.stdout
    assert "not passed" not in done.stdout

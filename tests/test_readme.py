import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readmes_example_runs():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    exec(compile("\n".join(blocks), "README.md", "exec"), {})


def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("which", ["first", "second"])
def test_the_two_commands_are_one_line_each(which):
    block = re.search(rf"<!-- {which} command -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert block is not None
    assert block[1].count("\n") == 1


def test_the_step_to_walk_through_runs_and_learns(capsys):
    runpy.run_path(str(ROOT / "docs" / "one_step.py"))
    _, before, _, after = capsys.readouterr().out.split()
    assert float(after) < float(before)


def test_the_example_of_the_kernels_readme_runs(capsys):
    text = (ROOT / "kernels" / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(block, "kernels/README.md", "exec"), {})
    assert "nothing found" in capsys.readouterr().out


def test_every_file_that_the_kernels_readme_links_to_exists():
    text = (ROOT / "kernels" / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / "kernels" / link).exists()] == []

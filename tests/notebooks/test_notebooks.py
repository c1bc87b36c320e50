"""Every notebook runs from clean, shows what its source says, and keeps to the common form."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason='pip install -e ".[notebooks]"')

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
BUILD = runpy.run_path(str(FOLDER / "build.py"))
SOURCES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
LARGEST = 500_000  # bytes, which a code-hosting page still shows

every_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def committed(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def markdown(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def links_of(notebook):
    """Where its text leads within the repository; code in backticks may look like a link."""
    words = re.sub(r"`[^`\n]*`", "code", markdown(notebook))
    return re.findall(r"\]\((?!https?:)([^)#]+)", words)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_thirteen():
    assert [path.name[:2] for path in SOURCES] == [f"{n:02}" for n in range(13)]


@every_notebook
def test_it_runs_from_clean_and_its_claims_hold(source):
    notebook = BUILD["run"](source)
    assert all(cell.execution_count for cell in code(notebook))


@every_notebook
def test_the_committed_notebook_is_built_from_its_source(source):
    ours, built = BUILD["read"](source), committed(source)
    assert [(cell.cell_type, cell.source) for cell in built.cells] == [
        (cell.cell_type, cell.source) for cell in ours.cells
    ]
    assert all(cell.execution_count for cell in code(built)), "build it: it has no outputs"


@every_notebook
def test_its_outputs_are_clean_and_small_enough_to_be_shown(source):
    assert source.with_suffix(".ipynb").stat().st_size <= LARGEST
    outputs = [output for cell in code(committed(source)) for output in cell.outputs]
    assert outputs
    for output in outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
    pictures = [o for o in outputs if {"image/png", "image/svg+xml"} & set(o.get("data", {}))]
    assert pictures, "a notebook shows rather than tells"


@every_notebook
def test_it_asks_to_predict_three_times_and_closes_with_its_claims(source):
    notebook = BUILD["read"](source)
    text = markdown(notebook)
    section = text[text.index("## Change this line and predict") :]
    section = section[: section.index("## What was claimed")]
    assert re.findall(r"^(\d)\. ", section, re.MULTILINE) == ["1", "2", "3"]
    assert "assert" in code(notebook)[-1].source


@every_notebook
def test_it_installs_itself_where_it_must_and_uses_no_magic(source):
    notebook = BUILD["read"](source)
    template = BUILD["read"](FOLDER / "05_attention_by_hand.py")
    assert code(notebook)[0].source == code(template)[0].source
    for cell in code(notebook):
        ast.parse(cell.source)  # a magic would be no Python


def test_where_it_installs_itself_the_running_kernel_finds_it():
    guard = code(BUILD["read"](SOURCES[0]))[0].source
    script = f"""
import subprocess
subprocess.run = lambda *command, **how: None  # as if pip had done it, for kernels to come
{guard}
for name in ("minivlm", "minivlm_kernels"):
    print(importlib.util.find_spec(name).origin)
"""
    command = [sys.executable, "-I", "-S", "-c", script]  # a kernel that knows no packages
    found = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True)
    origins = [ROOT / "minivlm" / "__init__.py", ROOT / "kernels/minivlm_kernels/__init__.py"]
    assert [Path(line) for line in found.stdout.splitlines()] == origins


@every_notebook
def test_it_defines_nothing_that_the_library_should_own(source):
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.ClassDef)
        if isinstance(node, ast.FunctionDef):
            decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
            assert any(words.startswith("cuda.jit") for words in decorators), node.name


@every_notebook
def test_every_link_leads_somewhere(source):
    links = links_of(BUILD["read"](source))
    assert links, "it links to the file that it explains"
    assert [link for link in links if not (FOLDER / link).exists()] == []


def test_a_claim_that_does_not_hold_stops_the_notebook(tmp_path, capsys):
    wrong = tmp_path / "99_wrong.py"
    wrong.write_text("# %%\nassert 1 == 2\n", encoding="utf-8")
    with pytest.raises(BUILD["CellExecutionError"], match="AssertionError"):
        BUILD["run"](wrong)


def test_a_number_that_names_no_notebook_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        BUILD["main"](["77"])
    assert stopped.value.code == 2
    assert "no notebook begins with '77'" in capsys.readouterr().err

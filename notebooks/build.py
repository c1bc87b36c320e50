"""Runs the notebooks from clean and writes each `.ipynb` with its outputs.

    python notebooks/build.py            # all of them
    python notebooks/build.py 05 06      # some

What is reviewed is `NN_name.py`, in percent format; the `.ipynb` beside it is built from it here.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from minivlm.files import write_bytes

HERE = Path(__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # on a busy machine, threads that wait burn CPU, too
LIMIT = 300  # seconds for one cell, so that one that hangs ends


def sources(*numbers: str) -> list[Path]:
    """The notebooks' sources whose names begin with one of the numbers; all without any.

    Raises:
        ValueError: a number names none.
    """
    found = sorted(HERE.glob("[0-9][0-9]_*.py"))
    for number in numbers:
        if not any(path.name.startswith(number) for path in found):
            raise ValueError(f"no notebook begins with {number!r}")
    return [path for path in found if not numbers or path.name.startswith(numbers)]


def read(source: Path) -> NotebookNode:
    """The cells of a source, without outputs, numbered rather than named at random."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
    return notebook


def run(source: Path) -> NotebookNode:
    """The notebook, executed from clean in its own folder.

    Raises:
        CellExecutionError: a cell failed, or one of its asserts does not hold.
    """
    notebook = read(source)
    client = NotebookClient(notebook, timeout=LIMIT, resources={"metadata": {"path": str(HERE)}})
    client.execute(env=os.environ | ONE_THREAD)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata = {}  # when each cell ran is no part of it
        for output in cell.get("outputs", []):  # a page shows a widget's stand-in
            output.get("data", {}).pop(WIDGET, None)
    return notebook


def built(source: Path) -> Path:
    """Where a source's notebook lies."""
    return source.with_suffix(".ipynb")


def main(arguments: list[str] | None = None) -> int:
    """Build notebooks; the exit status."""
    parser = argparse.ArgumentParser(description="Run notebooks and write them with outputs.")
    parser.add_argument("numbers", nargs="*", help="such as 05; all without any")
    options = parser.parse_args(arguments)
    try:
        chosen = sources(*options.numbers)
    except ValueError as error:
        parser.error(str(error))
    for source in chosen:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            notebook = run(source)
        except CellExecutionError as error:
            print(f"{source.name}: {error}", file=sys.stderr)
            return 1
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        text = nbformat.writes(notebook) + "\n"
        write_bytes(built(source), text.encode())
        print(f"{source.name}: {seconds:.0f} s of CPU, {len(text.encode()) / 1000:.0f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compiles every rung for every kind of GPU, and prints, writes or checks the table."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import metadata
from pathlib import Path

from minivlm.errors import InputError

PACKAGE = Path(__file__).parents[1]
COMPILERS = (
    "numba",
    "numba-cuda",
    "nvidia-nvvm",
    "nvidia-nvjitlink",
    "nvidia-cuda-nvrtc",
    "nvidia-cuda-runtime",  # headers
)


def main(arguments: list[str] | None = None) -> int:
    """The command; 0 where all is well, 1 where a rule or the table is broken, 2 for misuse."""
    parser = argparse.ArgumentParser(
        prog="python -m minivlm_kernels.compilers", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("rungs", nargs="*", help="such as a7: only these, to be printed")
    parser.add_argument("--root", type=Path, default=PACKAGE, help="the folder of the ladders")
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--write", type=Path, metavar="FILE", help="write the table")
    task.add_argument("--check", type=Path, metavar="FILE", help="compare with a written table")
    given = parser.parse_args(arguments)
    if given.rungs and (given.write or given.check):
        parser.error("a table holds all rungs; --write and --check take no names of rungs")
    try:
        return run(given)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def run(given: argparse.Namespace) -> int:
    """Compile, and do with the table what was asked for."""
    versions = installed()
    committed = read(given.check) if given.check else ""
    from minivlm_kernels.compilers.examine import examine_all
    from minivlm_kernels.compilers.rungs import find_rungs
    from minivlm_kernels.compilers.table import differences, render

    found = find_rungs(given.root)
    wanted = [rung for rung in found if not given.rungs or _named(rung, given.rungs)]
    if not wanted:
        raise InputError(f"no rung of {', '.join(found)} begins with {' or '.join(given.rungs)}")
    table, broken = examine_all(given.root, wanted)
    text = render(table, versions)
    if given.check:
        changes = [f"{given.check}: {told}" for told in differences(committed, text)]
        broken += changes
        if changes:
            broken.append(f"if that is as it should be: --write {given.check}")
    elif not given.write:
        print(text, end="")
    elif not broken:
        write(given.write, text)
    for sentence in broken:
        print(sentence, file=sys.stderr)
    return 1 if broken else 0


def installed() -> dict[str, str]:
    """The versions of the compilers, by package.

    Raises:
        InputError: one is missing, or Numba's simulator stands in for it.
    """
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        raise InputError(
            "NUMBA_ENABLE_CUDASIM is set, and Numba's simulator compiles nothing; unset it"
        )
    try:
        return {name: metadata.version(name) for name in COMPILERS}
    except metadata.PackageNotFoundError as missing:
        raise InputError(
            f'{missing.name} is not installed; pip install -e ".[compilers]" brings it'
        ) from None


def read(path: Path) -> str:
    """A committed table.

    Raises:
        InputError: there is none.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; --write makes it") from None


def write(path: Path, text: str) -> None:
    """Put a table where it can be committed.

    Raises:
        InputError: there is no such place.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _named(rung: str, names: list[str]) -> bool:
    """Whether a rung's file begins with one of the names."""
    return rung.partition("/")[2].startswith(tuple(names))


if __name__ == "__main__":
    sys.exit(main())

"""A `.cu` file becomes a library for this CPU: g++ compiles its text after `cuda_cpu.h`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from minivlm.errors import InputError
from minivlm_kernels.cuda.load import HERE

FLAGS = ["-std=c++17", "-O2", "-march=native", "-fno-strict-aliasing", "-fPIC", "-shared", "-w"]
FLAGS += ["-fvisibility=hidden", "-fno-gnu-unique", "-U_FORTIFY_SOURCE"]


def compiled(source: Path, defines: dict[str, int], kernels: Sequence[str]) -> Path:
    """The shared library for a `.cu` file, compiled anew only when something changed.

    Raises:
        InputError: there is no g++, or it does not accept the file.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise InputError(
            f"{source.name} needs g++ to run on a CPU (Debian: apt install g++); with a GPU and "
            f"CuPy the same file runs without it"
        )
    program = "\n".join(
        [
            '#include "cuda_cpu.h"',
            f'#include "{source}"',
            *(
                f'extern "C" __attribute__((visibility("default"))) const char* launch_{name}('
                "const cpu::Argument* a, dim3 grid, dim3 block, size_t shared, unsigned order) "
                f"{{ return cpu::launch({name}, a, grid, block, shared, order); }}"
                for name in kernels
            ),
            "",
        ]
    )
    macros = [f"-D{name}={value}" for name, value in sorted(defines.items())]
    command = [compiler, *FLAGS, *macros, f"-I{HERE}", f"-I{source.parent}"]
    library = _cache() / f"{_fingerprint(source, program, command)}.so"
    if not library.exists():
        _compile(source, program, command, library)
    return library


def _compile(source: Path, program: str, command: list[str], library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        text, made = Path(folder) / "program.cpp", Path(folder) / "library.so"
        text.write_text(program, encoding="utf-8")
        done = subprocess.run(
            [*command, "-o", str(made), str(text)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error:" in line]
            raise InputError(f"{source.name}: g++ says {' '.join(errors[:1]) or done.stderr[:500]}")
        os.replace(made, library)


def _fingerprint(source: Path, program: str, command: list[str]) -> str:
    """A name for all that decides about the library: texts, options, compiler and processor."""
    version = subprocess.run([command[0], "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(version + "\0".join([program, *command]).encode())
    included = [*HERE.rglob("*.h"), *HERE.glob("*.cuh"), *source.parent.glob("*.cuh"), source]
    for path in sorted(included):
        digest.update(path.read_bytes())
    cpuinfo = Path("/proc/cpuinfo")  # -march=native: another processor may lack what this one has
    if cpuinfo.exists():
        flags = re.search(r"^flags.*$", cpuinfo.read_text(), re.MULTILINE)
        digest.update(flags.group().encode() if flags else b"")
    return f"{source.stem}-{digest.hexdigest()[:20]}"


def _cache() -> Path:
    """The user's own folder for compiled kernels; no one else may write there."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "minivlm-kernels"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder

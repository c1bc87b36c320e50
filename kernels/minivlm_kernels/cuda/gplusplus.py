"""Compiles `.cu` files with g++ to shared libraries, and keeps them for the next time.

A library is made of two parts: the executor, which is the same for all files and compiled once, and
the file after `cuda_cpu.h`, compiled with checks of every index and address.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from minivlm.errors import InputError
from minivlm_kernels.cuda.declared import Kernel
from minivlm_kernels.cuda.load import HERE

ON_CPU = HERE / "on_cpu"
FLAGS = ["-std=c++17", "-O2", "-march=native", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique"]
FLAGS += ["-U_FORTIFY_SOURCE", "-w", f"-I{HERE}"]
OF_KERNELS = ["-g1", "-fno-strict-aliasing"]
OF_KERNELS += ["-ffp-contract=off"]  # a · b + c is rounded twice, with or without AVX; fmaf is not
OF_KERNELS += ["-fsanitize=bounds,alignment"]  # which checks.cpp answers
LINKED = ["-shared", "-T", str(ON_CPU / "shared.ld"), "-ldl"]
OF_EXECUTOR = ("PORTABLE_FIBERS",)  # macros that it understands
MOST_ERRORS = 3  # of the compiler's, in a sentence


def compiled(source: Path, defines: dict[str, int], kernels: dict[str, Kernel]) -> Path:
    """The shared library for a `.cu` file, compiled anew only when something changed.

    Args:
        source: the file.
        defines: macros.
        kernels: what it declares; for each, the library has a function `launch_…`.

    Raises:
        InputError: there is no g++, or it does not accept the file, or this is not Linux.
    """
    if sys.platform != "linux":
        raise InputError(
            f"{source.name} runs on the CPU under Linux alone; elsewhere the Numba rungs and the "
            f"NumPy reference do"
        )
    compiler = shutil.which("g++")
    if compiler is None:
        raise InputError(
            f"{source.name} needs g++ to run on a CPU (Debian: apt install g++); on a GPU the same "
            f"file runs without it"
        )
    source = source.resolve()
    executor = _executor(compiler, {k: v for k, v in defines.items() if k in OF_EXECUTOR})
    command = [compiler, *FLAGS, *OF_KERNELS, f"-I{source.parent}", *_macros(defines)]
    text = program(source, kernels)

    def make(folder: Path, made: Path) -> None:
        (folder / "program.cpp").write_text(text, encoding="utf-8")
        _run([*command, "-c", "-o", folder / "program.o", folder / "program.cpp"], source)
        # Linked with -fsanitize, the library would ask for the sanitizer's functions.
        _run([compiler, *LINKED, "-o", made, folder / "program.o", executor], source)

    read = [source, *_files(source.parent, "h", "cuh"), *_files(HERE, "h", "cuh")]
    read += [*_files(ON_CPU, "h", "ld"), executor]
    return _kept(f"{source.stem}-{_fingerprint([text, *command, *LINKED], read)}.so", make)


def program(source: Path, kernels: dict[str, Kernel]) -> str:
    """What g++ gets to see: what kernels know, the file, and a way in for each kernel."""
    lines = ['#include "cuda_cpu.h"', f'#include "{source}"']
    for name, kernel in kernels.items():
        count = len(kernel.parameters)
        lines += [
            'extern "C" __attribute__((visibility("default")))',
            f"const cpu::Failure* launch_{name}(cpu::Launch* launch) {{",
            f'  static_assert(cpu::Kernel<{name}>::COUNT == {count}, "as declared.py says");',
            f"  launch->body = cpu::Kernel<{name}>::run;",
            f"  launch->count = {count};",
            f"  launch->most_threads = cpu::bound({kernel.launch_bounds});",
            "  return cpu::run(*launch);",
            "}",
        ]
    return "\n".join([*lines, ""])


def _executor(compiler: str, defines: dict[str, int]) -> Path:
    """The executor's object file."""
    command = [compiler, *FLAGS, *_macros(defines), "-r", "-nostdlib"]
    sources = _files(ON_CPU, "cpp")

    def make(folder: Path, made: Path) -> None:
        _run([*command, "-o", made, *sources], HERE / "cuda_cpu.h")

    read = [*sources, *_files(ON_CPU, "h"), HERE / "cuda_cpu.h"]
    return _kept(f"executor-{_fingerprint(command, read)}.o", make)


def _macros(defines: dict[str, int]) -> list[str]:
    return [f"-D{name}={value}" for name, value in sorted(defines.items())]


def _files(folder: Path, *ends: str) -> list[Path]:
    return sorted(path for end in ends for path in folder.glob(f"*.{end}"))


def _run(command: Sequence[str | Path], source: Path) -> None:
    """Run g++.

    Raises:
        InputError: it refuses; with its first errors, their files and lines.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error:" in line]
        errors = [line for line in errors if not line.startswith("collect2")]
        told = "; ".join(errors[:MOST_ERRORS]) or done.stderr.strip()[:500]
        told = told.replace(f"{source.parent}{os.sep}", "").replace(f"{HERE}{os.sep}", "")
        raise InputError(f"{source.name}: g++ says {told}")


def _kept(name: str, make: Callable[[Path, Path], None]) -> Path:
    """A file in the cache, made where it is missing; whoever sees it sees all of it."""
    kept = cache_folder() / name
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            made = Path(folder) / name
            make(Path(folder), made)
            os.replace(made, kept)
    return kept


def _fingerprint(words: Iterable[object], files: Iterable[Path]) -> str:
    """A name for all that decides about what is compiled, compiler and processor among it."""
    digest = hashlib.sha256("\0".join([*map(str, words), *_machine()]).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


@cache
def _machine() -> tuple[str, str]:
    """The compiler's version, and what this processor can do, where Linux tells.

    Code for one processor (-march=native) may not run on another one with the same home folder.
    """
    version = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True)
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        processor = ""
    found = re.search(r"^(flags|Features)\s*:.*$", processor, re.MULTILINE)
    return version.stdout, found.group() if found else ""


def cache_folder() -> Path:
    """A folder for what is compiled, where no one else may write.

    In the user's cache, or where that is impossible among temporary files.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for base in (Path(home), Path(tempfile.gettempdir())):
        folder = base / f"minivlm-kernels-{os.getuid()}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        status = folder.stat()
        is_ours = status.st_uid == os.getuid() and not status.st_mode & 0o022
        if is_ours and os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="minivlm-kernels-"))


def line_of(library: Path, instruction: int) -> str:
    """Where an instruction of a library comes from, as `file:line`; nothing if that is not known.

    Of a function that was inlined, the line in a `.cu` or `.cuh` file that led there.
    """
    reader = shutil.which("addr2line")
    if not instruction or reader is None:
        return ""
    told = subprocess.run(
        [reader, "-i", "-e", library, hex(instruction)], capture_output=True, text=True, check=False
    )
    for place in told.stdout.splitlines():
        found = re.match(r"(.*\.cuh?:\d+)", place)
        if found:
            return Path(found.group()).name
    return ""

"""Which kernels there are: the ladders' folders are walked, so that no rung can be forgotten."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from numba.core.sigutils import normalize_signature

from minivlm_kernels.compilers.cubin import compile_cu
from minivlm_kernels.compilers.figures import Compiled, CompileError
from minivlm_kernels.compilers.launches import InFile, Launch, Launches, kind_of, launches_of
from minivlm_kernels.compilers.ptx import compile_numba

LADDERS = {"basics": "n", "attention": "C", "contrastive": "E"}
SIZES = {"n": (64,), "C": (16, 64, 128), "E": (64, 512)}  # any; of a head; of an embedding
ANY = "any"  # the size where a kernel does not depend on it


@dataclass(frozen=True)
class Unit:
    """What a compiler takes at once: a kernel in Python, or a `.cu` file, for one size.

    Attributes:
        name: the kernel's; None for a file, whose kernels keep their names in the machine code.
        size: of a head or of an embedding, or ANY.
        compile: (arch, lines) to the compiled code.
        launches: how the host launches the kernels, by name, as far as it does.
    """

    name: str | None
    size: str
    compile: Callable[[str, bool], Compiled]
    launches: Mapping[str, Launch]


def find_rungs(root: Path) -> list[str]:
    """The rungs below a folder, "attention/a1_naive.py" and so on, in order."""
    return [
        f"{ladder}/{path.name}"
        for ladder in LADDERS
        for path in sorted((root / ladder).glob("[a-z][0-9]*_*"))
        if path.suffix in (".py", ".cu")
    ]


def units_of(root: Path, rung: str) -> list[Unit]:
    """All that is to be compiled of a rung."""
    ladder, file = rung.split("/")
    sizes = SIZES[LADDERS[ladder]]
    if file.endswith(".py"):
        return _numba_units(_imported(root / rung), sizes)
    host = root / ladder / "cuda.py"
    module = _imported(host) if host.exists() else ModuleType("nothing")
    if LADDERS[ladder] == "E":  # an argument of these kernels
        return [_cu_unit(root / rung, ANY, {}, launches_of(module, sizes[0]))]
    return [
        _cu_unit(root / rung, str(size), {LADDERS[ladder]: size}, launches_of(module, size))
        for size in sizes
    ]


def _numba_units(module: ModuleType, sizes: tuple[int, ...]) -> list[Unit]:
    """A rung's kernels for each size; one that is the same object for all sizes, only once."""
    by_size = {size: module.kernels(size, _tile(module, size)) for size in sizes}
    launches = {size: launches_of(module, size) for size in sizes}
    units = []
    for name in by_size[sizes[0]]:
        once = len({by_size[size][name] for size in sizes}) == 1
        for size in sizes[:1] if once else sizes:
            kernel, signature = by_size[size][name]
            launch = launches[size].get(kernel)
            unit = Unit(
                name,
                ANY if once else str(size),
                partial(_compile_as_launched, kernel, signature, launch),
                {name: launch} if launch else {},
            )
            units.append(unit)
    return units


def _compile_as_launched(
    kernel, signature: str, launch: Launch | None, arch: str, lines: bool
) -> Compiled:
    """Compile a kernel in Python, if its signature is that of its launch: it could fall behind."""
    arguments, _ = normalize_signature(signature)
    asked = tuple(map(kind_of, arguments))
    if launch is not None and launch.arguments != asked:
        raise CompileError(
            f"its signature is ({', '.join(asked)}), and it is launched with "
            f"({', '.join(launch.arguments)})"
        )
    return compile_numba(kernel, signature, arch, lines)


def _cu_unit(source: Path, size: str, defines: dict[str, int], launches: Launches) -> Unit:
    mine = {
        kernel.name: launch
        for kernel, launch in launches.items()
        if isinstance(kernel, InFile) and kernel.file == source.name
    }
    return Unit(None, size, lambda arch, lines: compile_cu(source, arch, defines, lines), mine)


def _tile(module: ModuleType, size: int) -> int:
    """The tile that the rung takes on a GPU: its function's default, or what it chooses by size."""
    function = getattr(module, "forward", None) or module.backward
    default = inspect.signature(function).parameters["tile"].default
    return module.tile_for(size) if default is None else default


def _imported(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

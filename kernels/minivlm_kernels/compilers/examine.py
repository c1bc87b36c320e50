"""One rung, for one kind of GPU: its figures, and the rules that it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from minivlm_kernels.compilers.figures import CompileError, Figures, TooOld
from minivlm_kernels.compilers.float64 import find_float64, has_float64
from minivlm_kernels.compilers.launches import Launch
from minivlm_kernels.compilers.occupancy import MULTIPROCESSORS, resident_warps
from minivlm_kernels.compilers.rungs import units_of

ARCHS = tuple(MULTIPROCESSORS)  # from the oldest to the newest


@dataclass(frozen=True)
class Kernel:
    """One kernel of a rung, for one size.

    Attributes:
        ladder: the folder, "attention".
        file: the rung's, "a1_naive.py".
        name: of the kernel.
        size: of a head or of an embedding, or "any".
    """

    ladder: str
    file: str
    name: str
    size: str


Table = Mapping[Kernel, Mapping[str, Figures]]  # by the kind of GPU


class Broken(NamedTuple):
    """A rule that is broken: by what, in which size, for which kind of GPU, and how."""

    what: str
    size: str
    arch: str
    how: str


@dataclass
class Outcome:
    """What became of a rung for one kind of GPU.

    Attributes:
        arch: the kind of GPU.
        figures: of each kernel; not of one that asks for more than the oldest GPUs have.
        broken: rules that it breaks.
    """

    arch: str
    figures: dict[Kernel, Figures] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)


def examine(root: Path, rung: str, arch: str) -> Outcome:
    """Compile all kernels of a rung, in all sizes.

    Args:
        root: the folder of the ladders.
        rung: "attention/a1_naive.py".
        arch: the kind of GPU.
    """
    outcome = Outcome(arch)
    ladder, file = rung.split("/")
    for unit in units_of(root, rung):
        what = f"{rung} {unit.name}" if unit.name else rung
        try:
            compiled = unit.compile(arch, False)
            if has_float64(compiled.ptx):
                where = find_float64(unit.compile(arch, True).ptx)
                outcome.broken.append(Broken(what, unit.size, arch, f"float64 at {where}"))
        except TooOld as error:
            if arch == ARCHS[-1]:
                outcome.broken.append(Broken(what, unit.size, arch, str(error)))
            return outcome
        except CompileError as error:
            outcome.broken.append(Broken(what, unit.size, arch, str(error)))
            continue
        if not compiled.figures:
            outcome.broken.append(Broken(what, unit.size, arch, "there is no kernel in it"))
        for entry, figures in compiled.figures.items():
            kernel = Kernel(ladder, file, unit.name or entry, unit.size)
            _add(outcome, kernel, figures, unit.launches.get(kernel.name))
    return outcome


def _add(outcome: Outcome, kernel: Kernel, figures: Figures, launch: Launch | None) -> None:
    """Note what a kernel takes; where it is launched, with what the launch adds."""
    if launch is None:
        outcome.figures[kernel] = figures
        return
    shared = figures.shared + launch.shared
    warps = resident_warps(outcome.arch, launch.threads, figures.registers, shared)
    if warps:
        full = replace(figures, shared=shared, threads=launch.threads, warps=warps)
        outcome.figures[kernel] = full
    elif outcome.arch != ARCHS[0]:  # the oldest may be too small, as it may be too old
        what = f"{kernel.ladder}/{kernel.file} {kernel.name}"
        how = (
            f"a block does not fit: {launch.threads} threads of {figures.registers} registers, "
            f"{shared} bytes of shared memory"
        )
        outcome.broken.append(Broken(what, kernel.size, outcome.arch, how))


def examine_all(root: Path, rungs: list[str]) -> tuple[Table, list[str]]:
    """Compile rungs for every kind of GPU, in two processes.

    Returns:
        The figures of every kernel, and a sentence for each rule that is broken.
    """
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(examine, root, rung, arch) for rung in rungs for arch in ARCHS]
        return gather([task.result() for task in tasks])


def gather(outcomes: list[Outcome]) -> tuple[Table, list[str]]:
    """The figures of all outcomes, a kernel's sizes side by side, and what they break."""
    table: dict[Kernel, dict[str, Figures]] = {}
    for outcome in outcomes:
        for kernel, figures in outcome.figures.items():
            table.setdefault(kernel, {})[outcome.arch] = figures
    names = list(dict.fromkeys((kernel.file, kernel.name) for kernel in table))
    in_order = sorted(table, key=lambda kernel: names.index((kernel.file, kernel.name)))
    broken = [each for outcome in outcomes for each in outcome.broken]
    return {kernel: table[kernel] for kernel in in_order}, sentences(broken)


def sentences(broken: list[Broken]) -> list[str]:
    """Each broken rule once, with the sizes and the kinds of GPU in which it is broken."""
    together: dict[tuple[str, str], list[Broken]] = {}
    for each in broken:
        together.setdefault((each.what, each.how), []).append(each)
    told = []
    for (what, how), same in together.items():
        sizes = ", ".join(dict.fromkeys(each.size for each in same))
        archs = ", ".join(dict.fromkeys(each.arch for each in same))
        told.append(f"{what} (size {sizes}; {archs}): {how}")
    return told

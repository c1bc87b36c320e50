"""What is measured, in three sizes: all of it, a quick look, and what a CPU can emulate."""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

from minivlm_kernels.benchmark.attention import Attention
from minivlm_kernels.benchmark.contrastive import Contrastive

Workload = Attention | Contrastive

MILLION = 2**20

FULL: tuple[Workload, ...] = (
    *(Attention(4, 16, 2048, 64, "float32", causal) for causal in (False, True)),
    *(Attention(4, 16, 2048, 64, "float32", causal, backward=True) for causal in (False, True)),
    *(Attention(4, 16, 8192, C, "bfloat16", causal) for C in (64, 128) for causal in (False, True)),
    Attention(4, 16, 8192, 64, "bfloat16", backward=True),
    *(Attention(4, 16, 8192, 128, "bfloat16", causal, backward=True) for causal in (False, True)),
    *(Contrastive(8192, 512, "float32", backward) for backward in (False, True)),
    *(
        Contrastive(N, 512, "bfloat16", backward)
        for N in (16384, 65536)
        for backward in (False, True)
    ),
)

QUICK: tuple[Workload, ...] = (
    Attention(1, 8, 1024, 64, "float32"),
    Attention(1, 8, 1024, 64, "float32", backward=True),
    Attention(1, 16, 2048, 128, "bfloat16", causal=True),
    Attention(1, 16, 2048, 128, "bfloat16", backward=True),
    Contrastive(2048, 512, "float32", backward=True),
    Contrastive(8192, 512, "bfloat16"),
    Contrastive(8192, 512, "bfloat16", backward=True),
)

EMULATED: tuple[Workload, ...] = (
    *(Attention(1, 1, 64, 16, "float32", causal, tile=8) for causal in (False, True)),
    Attention(1, 1, 64, 16, "float32", backward=True, tile=8),
    *(Attention(1, 1, 512, 64, "bfloat16", causal) for causal in (False, True)),
    Attention(1, 1, 512, 64, "bfloat16", backward=True),
    *(Contrastive(40, 32, "float32", backward, tile=4) for backward in (False, True)),
    *(Contrastive(512, 64, "bfloat16", backward) for backward in (False, True)),
)

BIG_BY = "C4+C5"
BIG = tuple(Contrastive(N, 512, "bfloat16", backward=True) for N in (MILLION, 4 * MILLION))


class Growth(NamedTuple):
    """Workloads of growing size, to see how a contender's memory grows along."""

    contenders: tuple[str, ...]
    workloads: tuple[Workload, ...]


GROWTHS = (
    Growth(
        ("A2", "A5", "torch math", "torch efficient"),
        tuple(Attention(1, 1, T, 64, "float32") for T in (8192, 16384, 32768)),
    ),
    Growth(
        ("A7", "torch math", "torch flash"),
        tuple(Attention(1, 1, T, 128, "bfloat16") for T in (8192, 16384, 32768)),
    ),
    Growth(
        ("C1", "C2+C3", "torch dense", "torch chunked"),
        tuple(Contrastive(N, 512, "float32", backward=True) for N in (4096, 8192, 16384)),
    ),
    Growth(
        ("C4+C5", "torch dense", "torch chunked"),
        tuple(Contrastive(N, 512, "bfloat16", backward=True) for N in (16384, 32768, 65536)),
    ),
)


def is_wanted(contender: str, rungs: frozenset[str]) -> bool:
    """Rivals always are; a contender of two rungs is, where one of them was asked for."""
    return contender.startswith("torch") or not rungs.isdisjoint(contender.split("+"))


def as_dict(workload: Workload) -> dict:
    """For JSON; `from_dict` makes the workload again."""
    return {"kind": type(workload).__name__, **asdict(workload)}


def from_dict(sizes: dict) -> Workload:
    """The workload that `as_dict` described."""
    kinds = {"Attention": Attention, "Contrastive": Contrastive}
    return kinds[sizes["kind"]](**{name: x for name, x in sizes.items() if name != "kind"})

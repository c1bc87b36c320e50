"""Which rung runs what: the whole dispatch, as two short functions.

Each gives a `Choice`: which rungs run forward and backward, what the arrays become on the way
there, and why. Where no rung fits, the reference runs, and the user is told why, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minivlm_kernels.arrays import BF16, F32
from minivlm_kernels.needs import BF16_NEEDS

REFERENCE = "reference"  # minivlm's own NumPy body, on whatever device the arrays are
LONGEST_HEAD = 128  # channels; a longer head's tiles would not fit in shared memory
SHORT = 64  # up to so many queries, A7's tile of 128 would be half empty

Capability = tuple[int, int] | None  # of the GPU; None on the CPU, which emulates everything


@dataclass(frozen=True)
class Settings:
    """What `install` was asked for.

    Attributes:
        precision: "bfloat16" rounds float32 arrays on their way to the tensor cores.
        dense_up_to: so many pairs N, in float32, are faster with their N×N matrix than without.
    """

    precision: str = "float32"
    dense_up_to: int = 4096

    def __post_init__(self):
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f'precision "{self.precision}" is neither "float32" nor "bfloat16"')
        if self.dense_up_to < 0:
            raise ValueError(f"dense_up_to {self.dense_up_to} is negative")


class Choice(NamedTuple):
    """What runs.

    Attributes:
        forward: a rung, such as "A7", or REFERENCE.
        backward: likewise.
        dtype: what the arrays are rounded to on their way there; None where they stay.
        why: half a sentence.
        fallback: a rung would have been hoped for, so the user is told why there is none.
    """

    forward: str
    backward: str
    dtype: np.dtype | None
    why: str
    fallback: bool = False


def choose_attention(
    dtype: np.dtype, C: int, T: int, settings: Settings, capability: Capability
) -> Choice:
    """The rungs for an attention.

    Args:
        dtype: of queries, keys and values.
        C: channels of a head.
        T: query positions.
        settings: see `Settings`.
        capability: of the GPU.
    """
    if C > LONGEST_HEAD:
        return _fall_back(dtype, f"head size {C} is over {LONGEST_HEAD}, the longest of a rung")
    kind = _kind(dtype, settings, capability)
    if isinstance(kind, Choice):
        return kind
    if kind == F32:
        old = capability is not None and capability < BF16_NEEDS  # its blocks get too little for A5
        return Choice("A3" if old else "A5", "A4", F32, f"float32, head size {C}")
    if T <= SHORT:
        return Choice("A6", "A8", BF16, f"bfloat16, head size {C}, no more than {SHORT} queries")
    return Choice("A7", "A8", BF16, f"bfloat16, head size {C}, more than {SHORT} queries")


def choose_contrast(
    dtype: np.dtype, N: int, diagonal: bool, settings: Settings, capability: Capability
) -> Choice:
    """The rungs for a contrastive loss, InfoNCE's or SigLIP's.

    Args:
        dtype: of the embeddings.
        N: pairs.
        diagonal: pair n is image n and text n; no matrix of positives was given.
        settings: see `Settings`.
        capability: of the GPU.
    """
    if not diagonal:
        return _fall_back(dtype, "the positives are given as a matrix, and rungs know the diagonal")
    kind = _kind(dtype, settings, capability)
    if isinstance(kind, Choice):
        return kind
    if kind == BF16:
        return Choice("C4", "C5", BF16, "bfloat16")
    if settings.dense_up_to >= N:
        few = f"{N} pairs in float32 are no more than {settings.dense_up_to}"
        return Choice(REFERENCE, REFERENCE, None, f"{few}: their matrix fits, and BLAS is faster")
    return Choice("C2", "C3", F32, f"{N} pairs in float32 are more than {settings.dense_up_to}")


def _kind(dtype: np.dtype, settings: Settings, capability: Capability) -> np.dtype | Choice:
    """F32 or BF16, or the reference where neither can be had."""
    if dtype not in (F32, BF16):
        return _fall_back(dtype, f"rungs take float32 and bfloat16, not {dtype}")
    if dtype == F32 and settings.precision == "float32":
        return F32
    if capability is not None and capability < BF16_NEEDS:
        given, asked = (".".join(map(str, version)) for version in (capability, BF16_NEEDS))
        return _fall_back(dtype, f"bfloat16 needs compute capability {asked}, this GPU has {given}")
    return BF16


def _fall_back(dtype: np.dtype, why: str) -> Choice:
    """NumPy's body, in float32 for bfloat16, which no BLAS call of it knows."""
    return Choice(REFERENCE, REFERENCE, F32 if dtype == BF16 else None, why, fallback=True)

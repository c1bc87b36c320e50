"""Launches the rungs A5 to A8, which are CUDA C++: sizes, grids and shared memory.

Arrays are checked here and never copied. What a tile measures is said in the `.cu` files; the
numbers of bytes here follow from it.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from minivlm.tensor import Array
from minivlm_kernels.arrays import BF16, F32, output, reach, visible
from minivlm_kernels.checks import check_attention, check_forwards
from minivlm_kernels.cuda.load import Argument, Kernels, load

HERE = Path(__file__).parent
REGISTER_TILES = HERE / "a5_register_tiles.cu"
TENSOR_CORES = HERE / "a6_tensor_cores.cu"
PIPELINED = HERE / "a7_pipelined.cu"
BACKWARD = HERE / "a8_backward.cu"
HEADS = range(16, 129, 16)  # head sizes, whole operands of a tensor core
THREADS = 128  # of a block, in all of them


def forward_register_tiles(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Array]:
    """A5: attention in float32, from registers.

    Args:
        q: queries (B, H, T, C), C one of 16, 32, … 128.
        k: keys (B, G, S, C), where G divides H: each key head serves H/G query heads.
        v: values (B, G, S, C).
        mask: True where a query may look, broadcastable to (B, H, T, S); None means everywhere.
        causal: the last query is aligned with the last key, and none looks ahead of itself.
        scale: what products of queries and keys are multiplied by, above 0; None means 1/√C.

    Returns:
        o: (B, H, T, C), zeros for a query that may look nowhere.
        lse: log Σ exp(scores) of each query in nats, float32 (B, H, T); -inf for such a query.

    Raises:
        ValueError: arrays do not fit, or are not what the rung takes.
    """
    C = q.shape[-1]
    k_or_p = max(64 * (C + 4), 64 * (64 + 16))
    shared = 4 * (64 * (C + 4) + k_or_p + 64 * C)
    return _forward(REGISTER_TILES, F32, 64, shared, q, k, v, mask, causal, scale)


def forward_tensor_cores(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Array]:
    """A6: attention in bfloat16 on tensor cores; arguments, results and errors as of A5."""
    shared = 2 * 3 * 64 * (q.shape[-1] + 8)
    return _forward(TENSOR_CORES, BF16, 64, shared, q, k, v, mask, causal, scale)


def forward_pipelined(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Array]:
    """A7: attention in bfloat16, copies beside products; arguments, results and errors as of A5."""
    C = q.shape[-1]
    keys = 48 if C == 112 else 64
    return _forward(PIPELINED, BF16, 128, 2 * (128 + 4 * keys) * C, q, k, v, mask, causal, scale)


def backward_tensor_cores(
    q: Array,
    k: Array,
    v: Array,
    o: Array,
    lse: Array,
    do: Array,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Array, Array]:
    """A8: gradients of attention in bfloat16 on tensor cores.

    Args:
        q: queries (B, H, T, C), C one of 16, 32, … 128.
        k: keys (B, G, S, C).
        v: values (B, G, S, C).
        o: what forward gave (B, H, T, C).
        lse: what forward gave, float32 (B, H, T).
        do: the gradient of o, (B, H, T, C).
        mask: as in forward.
        causal: as in forward.
        scale: as in forward.

    Returns:
        dq: (B, H, T, C).
        dk: (B, G, S, C), summed over the query heads that share a key head.
        dv: (B, G, S, C).

    Raises:
        ValueError: arrays do not fit, or are not what the rung takes.
    """
    rung = BACKWARD.stem
    B, H, G, T, S, C = check_attention(rung, BF16, HEADS, q, k, v, mask)
    check_forwards(rung, BF16, q, o, lse, do)
    kernels = load(BACKWARD, like=q, C=C)
    look = _look(mask, causal, scale, (B, H, G, T, S, C), like=q)
    delta = output((B, H, T), F32, like=q)
    dq, dk, dv = (output(x.shape, BF16, like=q) for x in (q, k, v))

    _launch(kernels, "attention_delta", -(-B * H * T // 4), [o, do, delta, np.int64(B * H * T)])

    keys, queries = (128, 32) if C <= 64 else (64, 64)  # of a block, and of a tile that it reads
    shared = 2 * (2 * keys + 4 * queries) * C + 4 * 4 * queries
    arrays = [q, k, v, do, lse, delta, dk, dv]
    _launch(kernels, "attention_keys", B * G * -(-S // keys), [*arrays, *look], shared)

    keys = 64 if C <= 64 else 32
    shared = 2 * (2 * 128 + 4 * keys) * C
    arrays = [q, k, v, do, lse, delta, dq]
    _launch(kernels, "attention_queries", B * H * -(-T // 128), [*arrays, *look], shared)
    return dq, dk, dv


def _forward(
    source: Path,
    dtype: np.dtype,
    queries: int,
    shared: int,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    causal: bool,
    scale: float | None,
) -> tuple[Array, Array]:
    """A forward kernel, named attention_… as its file is named a5_…; a block has `queries`."""
    B, H, G, T, S, C = check_attention(source.stem, dtype, HEADS, q, k, v, mask)
    o = output((B, H, T, C), dtype, like=q)
    lse = output((B, H, T), F32, like=q)
    look = _look(mask, causal, scale, (B, H, G, T, S, C), like=q)
    name = "attention_" + source.stem.split("_", 1)[1]
    blocks = B * H * -(-T // queries)
    _launch(load(source, like=q, C=C), name, blocks, [q, k, v, o, lse, *look], shared)
    return o, lse


def _look(
    mask: Array | None,
    causal: bool,
    scale: float | None,
    sizes: tuple[int, int, int, int, int, int],
    like: Array,
) -> list[Argument]:
    """The arguments that all kernels end with: who may look where, sizes, and the scale."""
    B, H, G, T, S, C = sizes
    scale = 1 / math.sqrt(C) if scale is None else scale
    if not 0 < scale < math.inf:
        raise ValueError(f"a scale of {scale} is not above 0 and finite")
    strides = (0, 0, 0, 0)
    if mask is not None:
        mask = visible(mask, (B, H, T, S), like)
        strides = mask.strides  # a boolean is a byte
    ints = (H, G, T, S, reach(T, S, causal))
    return [mask, *map(np.int64, strides), *map(np.int32, ints), np.float32(scale)]


def _launch(
    kernels: Kernels, name: str, blocks: int, arguments: list[Argument], shared: int = 0
) -> None:
    """Run one kernel, its blocks along x alone, where 2³¹ of them may stand; none where none."""
    if blocks:
        kernels.launch(name, (blocks,), (THREADS,), arguments, shared)

"""Host side of rungs C4 and C5: InfoNCE and SigLIP's loss in bfloat16, in memory linear in N.

Forward is C4's kernel. Backward goes through strips of images: C5's kernel writes the slopes of a
strip into the workspace, and two products of a library turn them into gradients.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from minivlm.tensor import Array
from minivlm_kernels import arrays
from minivlm_kernels.arrays import BF16, F32
from minivlm_kernels.checks import check_arrays, check_beside, check_pairs
from minivlm_kernels.cuda.gemm import multiply
from minivlm_kernels.cuda.load import load

C4 = Path(__file__).with_name("c4_tensor_cores.cu")
C5 = Path(__file__).with_name("c5_chunked_gradient.cu")
FORWARD, BACKWARD = "C4 tensor cores", "C5 chunked gradient"

# As score_tile.cuh has them.
IMAGES, TEXTS = 128, 256  # of a tile
THREADS = 256
STAGES = 3 * (IMAGES + TEXTS) * 32 * 2  # bytes: slices of 32 numbers
SUMS = (8 * THREADS + 2 * TEXTS + 4 * IMAGES) * 8 + 32  # bytes, of C4
TOTALS = 2 * 32  # bytes, of C5: two floats a warp
CHUNK = 8  # numbers in 16 bytes: rows are padded to a multiple

Shapes = dict[str, tuple[tuple[int, ...], np.dtype]]


def forward(
    image: Array, text: Array, scale: Array, *, blocks: int | None = None
) -> tuple[Array, Array, Array]:
    """Symmetric InfoNCE of N pairs.

    Args:
        image: embeddings of unit length (N, E), bfloat16.
        text: embeddings of unit length (N, E), bfloat16.
        scale: the inverse temperature (1,), float32, on the device.
        blocks: how many blocks, at most, share the images; None means as many as a GPU runs at
            once, and two on the CPU.

    Returns:
        The mean surprise a choice in nats, (), and the log-sum-exps of the logits along rows, (N,),
        and along columns, (N,); all float32.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    N, _ = check_pairs(FORWARD, BF16, image, text)
    check_beside(FORWARD, image, (1,), scale=scale)
    image, text = _rows(image), _rows(text)
    blocks = min(_blocks(blocks, image), _bands(N))
    held = _made(_forward_shapes(N, blocks), image)
    row_lse, col_lse, surprise = held["row_lse"], held["col_lse"], held["surprise"]
    sizes = np.int32(N), np.int32(image.shape[1])
    kernels = load(C4, image)
    kernels.launch(
        "info_nce",
        (blocks,),
        (THREADS,),
        (image, text, scale, *sizes, row_lse, surprise, held["lines"]),
        STAGES + SUMS,
    )
    kernels.launch(
        "merge_lines",
        (math.ceil(N / THREADS),),
        (THREADS,),
        (held["lines"], np.int32(blocks), np.int32(N), row_lse, col_lse, surprise),
    )
    return surprise.mean(), row_lse, col_lse


def backward(
    image: Array,
    text: Array,
    scale: Array,
    row_lse: Array,
    col_lse: Array,
    *,
    chunk: int = 1024,
    blocks: int | None = None,
    workspace: Array | None = None,
) -> tuple[Array, ...]:
    """The gradients of `forward`'s nats for image (N, E), text (N, E) and log(scale) (); float32.

    Args:
        image: embeddings (N, E), as they were given to `forward`.
        text: embeddings (N, E).
        scale: the inverse temperature (1,).
        row_lse: log-sum-exps along rows (N,), from `forward`.
        col_lse: log-sum-exps along columns (N,).
        chunk: images of a strip.
        blocks: as in `forward`.
        workspace: bfloat16 to write slopes to, of shape `workspace_shape(N, chunk)`; None makes it.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    N, _ = check_pairs(BACKWARD, BF16, image, text)
    check_beside(BACKWARD, image, (1,), scale=scale)
    check_beside(BACKWARD, image, (N,), row_lse=row_lse, col_lse=col_lse)
    beside = scale, row_lse, col_lse
    d_image, d_text, sums = _by_strips(
        "info_nce_slopes", image, text, beside, ("d_log_scale",), chunk, blocks, workspace
    )
    return d_image, d_text, *sums


def sigmoid_forward(
    image: Array, text: Array, scale: Array, bias: Array, *, blocks: int | None = None
) -> Array:
    """SigLIP's loss of N×N pairs, in nats an image, (), float32.

    Args:
        image: embeddings of unit length (N, E), bfloat16.
        text: embeddings of unit length (N, E), bfloat16.
        scale: the inverse temperature (1,), float32, on the device.
        bias: added to every logit (1,), float32, on the device.
        blocks: as in `forward`.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    N, _ = check_pairs(FORWARD, BF16, image, text)
    check_beside(FORWARD, image, (1,), scale=scale, bias=bias)
    image, text = _rows(image), _rows(text)
    surprises = arrays.output((_bands(N),), F32, image)
    load(C4, image).launch(
        "sigmoid",
        (min(_blocks(blocks, image), _bands(N)),),
        (THREADS,),
        (image, text, scale, bias, np.int32(N), np.int32(image.shape[1]), surprises),
        STAGES + SUMS,
    )
    return surprises.sum() / N


def sigmoid_backward(
    image: Array,
    text: Array,
    scale: Array,
    bias: Array,
    *,
    chunk: int = 1024,
    blocks: int | None = None,
    workspace: Array | None = None,
) -> tuple[Array, ...]:
    """The gradients of `sigmoid_forward` for image, text, log(scale) () and bias (); float32.

    Args:
        image: embeddings of unit length (N, E), bfloat16.
        text: embeddings of unit length (N, E), bfloat16.
        scale: the inverse temperature (1,), float32, on the device.
        bias: added to every logit (1,), float32, on the device.
        chunk: as in `backward`.
        blocks: as in `forward`.
        workspace: as in `backward`.

    Raises:
        ValueError: an array's dtype, shape, strides or device is not what the rung takes.
    """
    check_pairs(BACKWARD, BF16, image, text)
    check_beside(BACKWARD, image, (1,), scale=scale, bias=bias)
    totals = "d_log_scale", "d_bias"
    d_image, d_text, sums = _by_strips(
        "sigmoid_slopes", image, text, (scale, bias), totals, chunk, blocks, workspace
    )
    return d_image, d_text, *sums


def _by_strips(
    kernel: str,
    image: Array,
    text: Array,
    beside: tuple[Array, ...],
    totals: tuple[str, ...],
    chunk: int,
    blocks: int | None,
    workspace: Array | None,
) -> tuple[Array, Array, list[Array]]:
    """d_image and d_text (N, E), and what the kernel sums over all pairs, each ().

    Args:
        kernel: of C5; writes the slopes of a strip.
        image: embeddings (N, E).
        text: embeddings (N, E).
        beside: what else the kernel reads.
        totals: names of what it sums.
        chunk: images of a strip.
        blocks: at most so many, or None.
        workspace: for slopes, or None.
    """
    if chunk < 1:
        raise ValueError(f"{BACKWARD}: a strip of {chunk} images has no gradient")
    N, E = image.shape
    image, text = _rows(image), _rows(text)
    blocks = min(_blocks(blocks, image), _tiles(N, chunk))
    shapes = _backward_shapes(N, image.shape[1], chunk, blocks, totals)
    if workspace is not None:
        _check_workspace(workspace, image, *shapes.pop("workspace"))
    held = _made(shapes, image)
    slopes = held["workspace"] if workspace is None else workspace
    d_image, d_text = held["d_image"], held["d_text"]
    kernels = load(C5, image)
    sizes = np.int32(N), np.int32(image.shape[1])
    for strip, start in enumerate(range(0, N, chunk)):
        end = min(start + chunk, N)
        ends = np.int32(start), np.int32(end)
        sums = (held[name][strip] for name in totals)
        kernels.launch(
            kernel,
            (blocks,),
            (THREADS,),
            (image, text, *beside, *sizes, *ends, slopes, *sums),
            STAGES + TOTALS,
        )
        G = slopes[: end - start, :N]
        multiply(G, text, d_image[start:end])
        multiply(G, image[start:end], d_text, transposed=True, add=start > 0)
    return d_image[:, :E], d_text[:, :E], [held[name].sum() for name in totals]


def workspace_shape(N: int, chunk: int = 1024) -> tuple[int, int]:
    """Of the slopes of a strip."""
    return min(chunk, N), _up(N)


def peak_bytes(N: int, E: int, blocks: int, chunk: int = 1024) -> int:
    """What InfoNCE and its gradients hold of a device's memory, with the embeddings.

    All arrays count as if they lived at once, for a pool of memory keeps what forward gave back.
    """
    held: Shapes = {name: ((N, E), BF16) for name in ("image", "text")}
    if E % CHUNK:
        held |= {name: ((N, _up(E)), BF16) for name in ("padded image", "padded text")}
    held |= _forward_shapes(N, min(blocks, _bands(N)))
    held |= _backward_shapes(N, _up(E), chunk, min(blocks, _tiles(N, chunk)), ("d_log_scale",))
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in held.values())


def _forward_shapes(N: int, blocks: int) -> Shapes:
    """Results, the diagonal that becomes each pair's surprise, and (max, sum) of columns."""
    results: Shapes = {name: ((N,), F32) for name in ("row_lse", "col_lse", "surprise")}
    return results | {"lines": ((blocks, N, 2), F32)}


def _backward_shapes(N: int, E: int, chunk: int, blocks: int, totals: tuple[str, ...]) -> Shapes:
    """Gradients, the workspace, and what each block sums in each strip."""
    held: Shapes = {name: ((N, E), F32) for name in ("d_image", "d_text")}
    held["workspace"] = (workspace_shape(N, chunk), BF16)
    return held | {name: ((math.ceil(N / chunk), blocks), F32) for name in totals}


def _bands(N: int) -> int:
    """What blocks of C4 share: no block without one, or its line would stay unwritten."""
    return math.ceil(N / IMAGES)


def _tiles(N: int, chunk: int) -> int:
    """What blocks of C5 share in a strip."""
    return math.ceil(min(chunk, N) / IMAGES) * math.ceil(N / TEXTS)


def _made(shapes: Shapes, like: Array) -> dict[str, Array]:
    return {name: arrays.output(shape, dtype, like) for name, (shape, dtype) in shapes.items()}


def _check_workspace(
    workspace: Array, image: Array, shape: tuple[int, ...], dtype: np.dtype
) -> None:
    check_arrays(BACKWARD, dtype, image=image, workspace=workspace)
    if workspace.shape != shape:
        raise ValueError(f"{BACKWARD}: the workspace has shape {workspace.shape}, not {shape}")


def _blocks(blocks: int | None, like: Array) -> int:
    """As many as run at once: each fills a multiprocessor."""
    if blocks is not None:
        return blocks
    if isinstance(like, np.ndarray):
        return 2
    from minivlm_kernels.cuda.gpu import multiprocessors

    return multiprocessors()


def _up(count: int) -> int:
    """The next multiple of what 16 bytes hold."""
    return math.ceil(count / CHUNK) * CHUNK


def _rows(x: Array) -> Array:
    """Rows that begin at multiples of 16 bytes: x itself, or a copy with columns of zeros."""
    return arrays.padded(x, CHUNK, x.dtype)

"""A drawing of the tiles for each rung: python -m minivlm_kernels.drawings FOLDER."""

from __future__ import annotations

from minivlm_kernels.drawings import attention, contrastive
from minivlm_kernels.drawings.canvas import canvas

TITLES = {
    attention.a1_naive: "A1: one thread a row",
    attention.a2_tiled: "A2: tiles in shared memory, scores in global memory",
    attention.a3_flash: "A3: online softmax, no matrix",
    attention.a4_flash_backward: "A4: the way back, recomputed",
    attention.a5_register_tiles: "A5: a rectangle of scores in each thread's registers",
    attention.a6_tensor_cores: "A6: tensor cores",
    attention.a7_pipelined: "A7: copies in the background, rows swizzled",
    attention.a8_backward: "A8: backward on tensor cores",
    contrastive.c1_dense: "C1: the N×N matrix and the wall",
    contrastive.c2_streaming: "C2: both log-sum-exps in one pass",
    contrastive.c3_streaming_backward: "C3: a gradient that is never stored",
    contrastive.c4_tensor_cores: "C4: a matrix product that keeps only sums",
    contrastive.c5_chunked_gradient: "C5: the gradient in chunks, by matrix products",
}


def drawings() -> dict[str, str]:
    """The text of each SVG, by the name of its rung."""
    texts = {}
    for draw, title in TITLES.items():
        drawing = canvas(title)
        draw(drawing)
        texts[draw.__name__] = drawing.svg()
    return texts

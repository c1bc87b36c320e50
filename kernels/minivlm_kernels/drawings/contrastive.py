"""The tiles of the contrastive rungs."""

from __future__ import annotations

from minivlm.viz.svg import Drawing
from minivlm_kernels.drawings.canvas import KEPT, OWNED, STORED, STREAMED


def pairs_matrix(c: Drawing, stored: bool) -> None:
    """Images at the left, texts on top, the N×N matrix between."""
    c.box(40, 90, 40, 150, STORED)
    c.text(60, 258, "images")
    c.box(95, 50, 150, 30, STORED)
    c.text(255, 70, "textsᵀ", anchor="start")
    c.box(95, 90, 150, 150, STORED if stored else "none", dashed=not stored)


def c1_dense(c: Drawing) -> None:
    """The matrix, and its copies."""
    for i in reversed(range(4)):
        c.box(95 + 12 * i, 90 - 9 * i + 20, 150, 150, STORED)
    c.line(95, 110, 245, 260)
    c.box(40, 110, 40, 150, STORED)
    c.text(60, 100, "images")
    c.text(40, 282, "the logits and what is made of them: N×N each", anchor="start")
    c.notes(
        340,
        90,
        "Every pair's logit is stored, and so are the",
        "softmax of the rows, of the columns, and the",
        "gradient: 16 bytes for each of N² pairs.",
        "",
        "N = 65,536 needs 64 GiB; N = 1,048,576",
        "would need 16 TiB. This is the wall.",
    )


def c2_streaming(c: Drawing) -> None:
    """Row and column sums in one pass."""
    pairs_matrix(c, stored=False)
    for row in (0, 2):
        c.box(40, 90 + 37.5 * row, 40, 37.5, OWNED)
        c.box(95, 90 + 37.5 * row, 150, 37.5, "none")
    c.box(132.5, 50, 37.5, 30, STREAMED)
    c.box(132.5, 90, 37.5, 37.5, KEPT)
    c.arrow(170, 109, 230, 109)
    c.box(262, 90, 14, 37.5, KEPT)
    c.text(283, 112, "row (max, sum)", anchor="start")
    c.box(95, 252, 150, 12, STORED)
    c.box(132.5, 252, 37.5, 12, OWNED)
    c.text(255, 263, "column (max, sum) of this block", anchor="start")
    c.notes(
        410,
        80,
        "Block p of P owns row tiles p, p + P, …",
        "Rows keep (max, sum) as in A3. Each tile",
        "also merges its columns into the block's",
        "own line of a P×N table.",
        "",
        "At the end P lines are merged: both",
        "log-sum-exps from one pass over the",
        "matrix, and memory linear in N.",
    )


def c3_streaming_backward(c: Drawing) -> None:
    """The gradient's tile is made, used and forgotten."""
    pairs_matrix(c, stored=False)
    c.box(40, 127.5, 40, 37.5, OWNED)
    c.box(95, 127.5, 150, 37.5, "none")
    c.box(132.5, 50, 37.5, 30, STREAMED)
    c.box(132.5, 127.5, 37.5, 37.5, KEPT)
    c.arrow(170, 146, 230, 146)
    c.box(262, 127.5, 40, 37.5, OWNED)
    c.text(282, 182, "d image")
    c.notes(
        350,
        90,
        "With both log-sum-exps known, any tile of",
        "G = (p row + p column) / 2N − I/N can be",
        "made anew, and d image += G · texts.",
        "",
        "Once for the images; once more, roles",
        "exchanged, for the texts. 10 N²E operations",
        "with the forward pass, nothing N×N stored,",
        "each sum owned by one thread.",
    )


def c4_tensor_cores(c: Drawing) -> None:
    """A GEMM whose epilogue keeps sums and no matrix."""
    c.box(40, 90, 70, 128, STORED)
    c.box(56, 90, 14, 128, OWNED)
    c.box(70, 90, 14, 128, STREAMED)
    c.text(66, 236, "128 images")
    c.box(125, 40, 128, 40, STORED)
    c.box(125, 48, 128, 9, OWNED)
    c.box(125, 57, 128, 9, STREAMED)
    c.text(262, 62, "256 texts", anchor="start")
    c.box(125, 90, 128, 128, KEPT)
    c.grid(125, 90, 128, 128, 4, 2)
    c.text(194, 236, "8 warps, 64×64 each")
    c.text(
        40,
        262,
        "orange slices are multiplied now, blue ones are on their way",
        anchor="start",
        size=11,
    )
    c.notes(
        350,
        80,
        "C2 as a matrix product: slices of both",
        "operands are fetched ahead by cp.async and",
        "multiplied by tensor cores; any E will do.",
        "",
        "Where a GEMM would write its tile, this one",
        "reduces it: rows into registers, columns by",
        "shuffles and shared memory into the block's",
        "line of the P×N table.",
    )


def c5_chunked_gradient(c: Drawing) -> None:
    """1024 rows of the gradient at a time."""
    pairs_matrix(c, stored=False)
    c.box(95, 127.5, 150, 37.5, KEPT)
    c.text(170, 150, "G: 1024 × N, bf16")
    c.box(40, 127.5, 40, 37.5, OWNED)
    c.box(270, 127.5, 40, 37.5, OWNED)
    c.text(290, 182, "d image")
    c.arrow(245, 146, 266, 146)
    c.box(95, 262, 150, 22, STREAMED)
    c.text(255, 278, "d text +=", anchor="start")
    c.arrow(170, 165, 170, 258)
    c.notes(
        370,
        80,
        "1024 rows of G fit in memory for any N. They",
        "are made by C4's loop, then used twice by a",
        "library's matrix product:",
        "   d image rows = G · texts",
        "   d text      += Gᵀ · images",
        "and the workspace is used again.",
        "",
        "2 (C4) + 2 (remake) + 4 (products) = 8 N²E;",
        "Inf-CL's kernels do 20.",
    )

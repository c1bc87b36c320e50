"""The tiles of the attention rungs."""

from __future__ import annotations

from minivlm.viz.svg import Drawing
from minivlm_kernels.drawings.canvas import KEPT, OWNED, STORED, STREAMED


def attention_matrices(c: Drawing, stored: bool) -> None:
    """q at the left, kᵀ on top, the T×S scores between, o at the right; v below the scores."""
    c.box(40, 80, 40, 130, STORED)
    c.text(60, 228, "q  T×C")
    c.box(95, 40, 190, 30, STORED)
    c.text(295, 60, "kᵀ  C×S", anchor="start")
    c.box(95, 80, 190, 130, STORED if stored else "none", dashed=not stored)
    c.box(95, 240, 190, 30, STORED)
    c.text(295, 260, "vᵀ  C×S", anchor="start")
    c.box(300, 80, 40, 130, STORED)
    c.text(320, 228, "o  T×C")


def a1_naive(c: Drawing) -> None:
    """One thread a row."""
    attention_matrices(c, stored=False)
    c.box(40, 130, 40, 9, OWNED)
    c.box(95, 40, 190, 30, STREAMED)
    c.box(95, 240, 190, 30, STREAMED)
    c.box(95, 130, 190, 9, "none")
    c.box(300, 130, 40, 9, OWNED)
    c.notes(
        380,
        90,
        "One thread owns one row of q and of o.",
        "It walks over all keys twice: once for the",
        "greatest score, once for the weights.",
        "",
        "Nothing is shared: each of the T threads",
        "reads all of k and v from memory.",
    )


def a2_tiled(c: Drawing) -> None:
    """Shared tiles, and a matrix in memory."""
    attention_matrices(c, stored=True)
    c.grid(95, 80, 190, 130, 6, 4)
    c.box(40, 112.5, 40, 32.5, OWNED)
    c.box(50, 112.5, 10, 32.5, KEPT)
    c.box(158.3, 40, 31.7, 30, STREAMED)
    c.box(158.3, 48, 31.7, 8, KEPT)
    c.box(158.3, 112.5, 31.7, 32.5, OWNED)
    c.notes(
        380,
        90,
        "One block of threads owns one tile of the",
        "scores. Slices of q and k (green) are read",
        "once into shared memory and used by all.",
        "",
        "But the T×S matrix lies in memory: written",
        "by the first kernel, read and written by the",
        "softmax, read by the last.",
    )


def a3_flash(c: Drawing) -> None:
    """Keys stream past; only the running maximum and sum are kept."""
    attention_matrices(c, stored=False)
    c.box(40, 112.5, 40, 32.5, OWNED)
    c.box(95, 112.5, 190, 32.5, "none", dashed=True)
    c.box(158.3, 40, 31.7, 30, STREAMED)
    c.box(158.3, 240, 31.7, 30, STREAMED)
    c.box(158.3, 112.5, 31.7, 32.5, KEPT)
    c.box(300, 112.5, 40, 32.5, OWNED)
    c.arrow(195, 129, 240, 129)
    c.notes(
        375,
        80,
        "A block owns a tile of queries, a thread a",
        "row. Tiles of k and v stream past (blue).",
        "",
        "Of the scores only one tile exists at a time.",
        "A row keeps its running maximum m, its sum l",
        "and its o; when a tile raises m, what was",
        "summed so far is rescaled by exp(m − m new).",
        "",
        "Memory is linear in T: o and one lse a row.",
    )


def a4_flash_backward(c: Drawing) -> None:
    """Two walks over the scores, recomputed."""
    for x, words in ((40, "dq: a block owns queries"), (240, "dk, dv: a block owns keys")):
        c.box(x, 90, 150, 130, "none", dashed=True)
        c.text(x + 75, 60, words)
    c.box(40, 122.5, 150, 32.5, OWNED)
    c.box(90, 122.5, 25, 32.5, KEPT)
    c.arrow(115, 139, 165, 139)
    c.box(290, 90, 25, 130, OWNED)
    c.box(290, 122.5, 25, 32.5, KEPT)
    c.arrow(302.5, 155, 302.5, 200)
    c.text(20, 160, "T")
    c.text(115, 240, "S")
    c.text(315, 240, "S")
    c.notes(
        405,
        80,
        "p = exp(score − lse) is computed anew,",
        "tile by tile: cheaper than keeping T×S.",
        "",
        "ds = p (do·v − Σ do·o), and the sums run",
        "along rows for dq, along columns for dk",
        "and dv: two kernels, each owning what it",
        "writes. No number is added to by two",
        "threads: the same bits in every run.",
    )


def a5_register_tiles(c: Drawing) -> None:
    """A thread owns a small square of the scores."""
    c.box(60, 60, 208, 208, "none", dashed=True)
    c.grid(60, 60, 208, 208, 16, 8)
    c.box(60 + 13 * 4, 60 + 26 * 3, 13, 26, KEPT)
    c.text(164, 52, "a tile of scores, 64×64, of 128 threads")
    c.box(320, 100, 104, 104, KEPT)
    c.grid(320, 100, 104, 104, 4, 8)
    c.line(125, 138, 320, 100)
    c.line(125, 164, 320, 204)
    c.box(300, 100, 14, 104, OWNED)
    c.box(320, 80, 104, 14, STREAMED)
    c.text(362, 225, "one thread: 8×4 scores")
    c.notes(
        460,
        90,
        "For each channel a thread reads",
        "8 numbers of q and 4 of k, and",
        "does 32 multiply-adds with them,",
        "in registers. A3's thread reads",
        "one number for one multiply-add:",
        "shared memory was its limit.",
        "",
        "Rows are summed by shuffles",
        "between the lanes of a warp.",
    )


def a6_tensor_cores(c: Drawing) -> None:
    """One warp, one instruction, 16×8×16."""
    c.box(40, 100, 128, 128, OWNED)
    c.text(104, 90, "a: 16×16, of q")
    c.box(200, 100, 64, 128, STREAMED)
    c.text(232, 90, "b: 16×8, of kᵀ")
    c.box(310, 100, 64, 128, KEPT)
    c.text(342, 90, "d: 16×8")
    c.text(184, 168, "·", size=22)
    c.text(287, 168, "+=", size=16)
    c.grid(310, 100, 64, 128, 4, 16)
    c.box(310, 100, 16, 8, OWNED)
    c.box(310, 164, 16, 8, OWNED)
    c.text(310, 246, "d, scores: lane 0 holds two pairs")
    c.notes(
        405,
        90,
        "mma.sync: the 32 lanes of a warp together",
        "multiply 16×16 by 16×8 in bf16 and add in",
        "float32: 4,096 operations an instruction.",
        "",
        "A lane's part of d (two numbers in row g,",
        "two in row g + 8) has the layout that a",
        "wants: after the softmax, p goes into the",
        "product with v without leaving registers.",
    )


def a7_pipelined(c: Drawing) -> None:
    """Copies run while tensor cores do; swizzled rows meet no bank conflict."""
    c.text(60, 70, "time →", anchor="start")
    for i in range(4):
        x = 60 + 75 * i
        c.box(x, 80, 70, 26, STREAMED)
        c.text(x + 35, 98, f"copy {i + 1}")
        c.box(x + 75, 112, 70, 26, OWNED)
        c.text(x + 110, 130, f"mma {i + 1}")
    for row in range(8):
        for chunk in range(8):
            seen = chunk ^ row
            x, y = 60 + 34 * chunk, 165 + 14 * row
            c.box(x, y, 34, 14, KEPT if seen == 2 else "none")
            c.text(x + 17, y + 11, str(seen), size=10)
    c.text(196, 292, "chunk j of row i lies at j xor i", size=11)
    c.notes(
        450,
        80,
        "Two tiles of k and v in shared",
        "memory: one is multiplied while",
        "cp.async fetches the next.",
        "",
        "ldmatrix reads one column of",
        "16-byte chunks (green), 8 rows",
        "at once. With xor they lie in 8",
        "different banks, and no row is",
        "padded. A warp owns 32 rows, so",
        "what it reads of k serves twice.",
    )


def a8_backward(c: Drawing) -> None:
    """The scores transposed, so that what comes out can go in again."""
    c.box(40, 70, 60, 130, OWNED)
    c.text(70, 60, "k, v: its keys")
    c.box(115, 70, 130, 130, "none", dashed=True)
    c.box(150, 70, 45, 130, KEPT)
    c.text(180, 60, "sᵀ = k qᵀ")
    c.box(115, 215, 130, 40, STORED)
    c.box(150, 215, 45, 40, STREAMED)
    c.text(180, 272, "q, do: tiles of queries")
    c.arrow(195, 140, 235, 140)
    c.box(260, 70, 60, 130, OWNED)
    c.text(290, 60, "dk, dv")
    c.notes(
        350,
        80,
        "A block owns keys and computes the scores",
        "transposed. pᵀ and dsᵀ come out of the tensor",
        "cores in the layout of the left operand, so",
        "dv += pᵀ do and dk += dsᵀ q need no trip",
        "through shared memory.",
        "",
        "A second kernel owns queries and sums dq.",
        "It recomputes the scores (7 products instead",
        "of 5) and needs no atomics: same bits each run.",
    )

"""What is computed for E24: products of matrices, none of them square but one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course import kernels
from minivlm.course.record import Case, Outputs
from minivlm_kernels.basics import b2_matmul

# M, K, N and a block's columns and rows: edges that are full, ragged below, to the right, or both
SIZES = (
    (3, 2, 5, 2, 2),
    (1, 4, 4, 2, 3),
    (4, 3, 2, 4, 2),
    (4, 1, 3, 2, 1),
    (3, 5, 4, 4, 2),
    (4, 4, 4, 2, 2),
)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Two factors for each of the sizes."""
    for M, K, N, columns, rows in SIZES:
        yield {
            "a": rng.standard_normal((M, K)).astype(np.float32),
            "b": rng.standard_normal((K, N)).astype(np.float32),
            "columns of a block": columns,
            "rows of a block": rows,
        }


def run(case: Case) -> Outputs:
    """The product, and whether its threads share the work."""
    block = {"tile": case["columns of a block"], "rows": case["rows of a block"]}
    ran = kernels.run(b2_matmul.forward, case["a"], case["b"], **block, events=True)
    one = ran.most_written(2) == 1
    return {"out": ran.results[0], "a thread writes one element": np.array(one)}

"""What is computed for E26: images beside more texts, or fewer, than fill their tiles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivlm.course import kernels
from minivlm.course.record import Case, Outputs
from minivlm_kernels.basics import b4_row_lse

# N, M, E, the tile, and the scale; the last two overflow an exponential that is not held down
SIZES = (
    (2, 4, 2, 2, 4.0),
    (3, 5, 2, 2, 4.0),
    (1, 2, 3, 2, 2.0),
    (4, 2, 2, 2, 2.0),
    (2, 7, 5, 3, 4.0),
    (2, 3, 1, 2, 3000.0),
    (3, 5, 3, 2, -3000.0),
)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Embeddings for each of the sizes; where the scale is below 0, all logits are."""
    for N, M, E, tile, scale in SIZES:
        image, text = rng.standard_normal((N, E)), rng.standard_normal((M, E))
        if scale < 0:
            image, text = np.abs(image), -np.abs(text)
        yield {
            "image": image.astype(np.float32),
            "text": text.astype(np.float32),
            "scale": np.array([abs(scale)], np.float32),
            "tile": tile,
        }


def run(case: Case) -> Outputs:
    """Each image's log-sum-exp, and whether a block reads each text only once."""
    image, text, scale, tile = case["image"], case["text"], case["scale"], case["tile"]
    ran = kernels.run(b4_row_lse.forward, image, text, scale, tile=tile)
    once = ran.reads(1) <= kernels.tiles(len(image), tile) * text.size
    return {"lse": ran.results[0], "a block reads each text once": np.array(once)}

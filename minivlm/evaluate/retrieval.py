"""Finding the right one among many: recall at k, from a matrix of similarities.

Source: mlfoundations/open_clip, src/open_clip_train/metrics.py, whose rule for ties is kept; with
several right answers for a query, as in COCO and Flickr30k, the best-ranked one counts.
"""

from collections.abc import Sequence

import numpy as np


def ranks(similarity: np.ndarray, right: np.ndarray | None = None) -> np.ndarray:
    """How many candidates stand before the best right one, for each query.

    Args:
        similarity: of each query with each candidate (Q, K).
        right: True where a candidate answers a query (Q, K); None means the diagonal.

    Returns:
        0 where a right candidate is first, (Q,). Equal candidates stand in their order.

    Raises:
        ValueError: the shapes differ, or a query has no right candidate.
    """
    if right is None:
        right = np.eye(*similarity.shape, dtype=bool)
    if right.shape != similarity.shape:
        raise ValueError(f"answers {right.shape} do not fit similarities {similarity.shape}")
    if not right.any(1).all():
        raise ValueError(f"query {int(right.any(1).argmin())} has no right candidate")
    best = np.where(right, similarity, -np.inf).argmax(1)  # the first of equal ones
    score = similarity[np.arange(len(best)), best][:, None]
    earlier = np.arange(similarity.shape[1]) < best[:, None]
    return ((similarity > score) | ((similarity == score) & earlier)).sum(1)


def recall(
    similarity: np.ndarray, right: np.ndarray | None = None, ks: Sequence[int] = (1, 5, 10)
) -> dict[int, float]:
    """The share of queries with a right candidate among the first k, for each k; see `ranks`."""
    standing = ranks(similarity, right)
    return {k: float((standing < k).mean()) for k in ks}

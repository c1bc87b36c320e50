"""Which examples make up each batch: a function of the seed and the step alone.

Because nothing but these two decides, a run that was interrupted sees the batches that it would
have seen, without any state of a generator in its checkpoint.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from minivlm.errors import InputError


def shuffled(count: int, batch: int, seed: int, start: int = 0) -> Iterator[np.ndarray]:
    """Indices (B,) of batch `start`, `start + 1`, … without end; each epoch in an order of its own.

    An epoch's last examples that fill no batch are left out of it; another epoch has others.

    Raises:
        InputError: a batch is empty or larger than the count.
    """
    if not 1 <= batch <= count:
        raise InputError(f"a batch of {batch} cannot be drawn from {count} examples")
    per_epoch = count // batch
    epoch, place = divmod(start, per_epoch)
    while True:
        order = np.random.default_rng((seed, epoch)).permutation(count)
        for i in range(place, per_epoch):
            yield order[i * batch : (i + 1) * batch]
        epoch, place = epoch + 1, 0


def bucketed(
    buckets: Sequence[np.ndarray], weights: Sequence[float], batch: int, seed: int, start: int = 0
) -> Iterator[np.ndarray]:
    """Indices (B,) for each step from `start` on, all from one bucket, drawn with its weight.

    Scenes are bucketed by their number of things: in such a batch, a model cannot find the right
    caption by counting, and short captions are not padded to the length of long ones.

    Raises:
        InputError: a bucket holds fewer examples than a batch.
    """
    for bucket in buckets:
        if len(bucket) < batch:
            raise InputError(f"a batch of {batch} cannot be drawn from a bucket of {len(bucket)}")
    chance = np.asarray(weights, float) / sum(weights)
    step = start
    while True:
        rng = np.random.default_rng((seed, step))
        bucket = buckets[rng.choice(len(buckets), p=chance)]
        yield rng.choice(bucket, batch, replace=False)
        step += 1


def same_words(texts: Sequence[str]) -> np.ndarray | None:
    """True where text n and text m are the same words (N, N); None where no two are.

    Two pictures that share a caption must not be told apart by it: both are right.
    """
    if len(set(texts)) == len(texts):
        return None
    numbers = np.unique(np.asarray(texts), return_inverse=True)[1]
    return numbers[:, None] == numbers

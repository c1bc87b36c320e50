"""How the learning rate changes over a run, as a factor of its highest value."""

import math


def warmup_cosine(step: int, steps: int, warmup: float = 0.05, floor: float = 0.02) -> float:
    """Up in a straight line, then down along half a cosine.

    Args:
        step: number of the update, 0..steps-1.
        steps: updates in the whole run.
        warmup: share of the run in which the factor rises to 1.
        floor: what it falls to at the end.

    Returns:
        A factor above 0 and at most 1.

    Source: Loshchilov & Hutter 2016, arXiv:1608.03983, eq. 5, without restarts.
    """
    rising = warmup * steps
    if step < rising:
        return min(1.0, (step + 1) / rising)
    share = (step - rising) / max(1.0, steps - rising)
    return floor + (1 - floor) * (1 + math.cos(math.pi * share)) / 2

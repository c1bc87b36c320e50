"""Perplexity: between how many equally likely tokens a model hesitates, on average.

Source: Jelinek et al. 1977, J. Acoust. Soc. Am. 62, S63.
"""

import math
from collections.abc import Iterable


def perplexity(parts: Iterable[tuple[float, int]]) -> float:
    """The exponential of the mean loss over all tokens.

    Args:
        parts: for each part of the text its mean loss in nats a token, and its tokens.

    Returns:
        1 where every token was certain; the size of the vocabulary where all were guessed.

    Raises:
        ValueError: there is not one token.
    """
    nats, tokens = 0.0, 0
    for mean, count in parts:
        nats += mean * count
        tokens += count
    if not tokens:
        raise ValueError("a text without tokens has no perplexity")
    return math.exp(nats / tokens)

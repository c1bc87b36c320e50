"""Writing: ask a language model for the next token, append it, and ask again.

Source: nucleus sampling, Holtzman et al. 2019, arXiv:1904.09751; the penalty for repeating, Keskar
et al. 2019, arXiv:1909.05858, section 4.1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from minivlm.models.decoder import Decoder
from minivlm.tensor import Array, Tensor, no_grad


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen.

    Attributes:
        temperature: logits are divided by it; 0 takes the most probable token.
        top_k: only the k most probable tokens may be chosen, and those equal to the k-th; 0: all.
        top_p: only the fewest tokens whose probabilities add up to p may be chosen.
        repetition_penalty: makes tokens that have occurred less probable if above 1.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:  # nor may it be nan
            raise ValueError(f"temperature {self.temperature} is not 0 or more")
        if self.top_k < 0:
            raise ValueError(f"top_k {self.top_k} is negative")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} is not in (0, 1]")
        if not self.repetition_penalty > 0:
            raise ValueError(f"repetition_penalty {self.repetition_penalty} is not positive")


def generate(
    decoder: Decoder,
    prompt: Tensor | Array,
    mask: Array | None = None,
    *,
    max_new_tokens: int,
    stop: Collection[int] = (),
    sampling: Sampling | None = None,
    rng: np.random.Generator | None = None,
    pad: int = 0,
) -> Iterator[np.ndarray]:
    """New tokens, one for each text of the batch at a time, as soon as they are known.

    Args:
        decoder: the language model.
        prompt: ids (B, T), or embeddings (B, T, D).
        mask: True where the prompt is text rather than padding (B, T), which stands on the left.
        max_new_tokens: the iterator ends after so many, if not before.
        stop: ids that end a text; the iterator ends when all texts have one.
        sampling: how to choose; None takes the most probable token.
        rng: decides what the sampling leaves open; needed if its temperature is not 0.
        pad: what a text that has ended is continued with.

    Yields:
        The next id of each text, (B,).

    Raises:
        ValueError: the temperature is not 0 and there is no rng.
    """
    sampling = sampling or Sampling()
    if sampling.temperature and rng is None:
        raise ValueError("sampling at a temperature needs an rng")
    embedded = isinstance(prompt, Tensor)
    B = len(prompt)
    seen = np.zeros((B, decoder.config.vocabulary), bool)  # tokens that have occurred
    if not embedded:
        text = np.ones(prompt.shape, bool) if mask is None else mask
        rows = np.broadcast_to(np.arange(B)[:, None], prompt.shape)
        seen[rows[text], prompt[text]] = True
    ended = np.zeros(B, bool)
    memory = decoder.new_memory()
    for _ in range(max_new_tokens):
        with no_grad():
            x = prompt if isinstance(prompt, Tensor) else decoder.embed(prompt)
            last = decoder.features(x, mask, memory)[:, -1]
            logits = decoder.logits(last).numpy()
        chosen = choose(penalised(logits, seen, sampling.repetition_penalty), sampling, rng)
        chosen = np.where(ended, pad, chosen)
        yield chosen
        seen[np.arange(B), chosen] = True
        ended |= np.isin(chosen, list(stop))
        if ended.all():
            return
        prompt = chosen[:, None]
        if mask is not None:
            mask = np.concatenate([mask, np.ones((B, 1), bool)], 1)


def choose(logits: np.ndarray, sampling: Sampling, rng: np.random.Generator | None) -> np.ndarray:
    """A token for each row.

    At temperature 0 the one of the largest logit; of equal ones, that with the lowest id. Else
    probabilities are added up from id 0 on, and a random number decides: the first token at which
    their sum exceeds u · (the sum of all, which rounding may leave just below 1).

    Args:
        logits: (B, V).
        sampling: the temperature, and what `probabilities` heeds.
        rng: `random` gives u, uniform in 0..1, one for each row in order; left alone, or None, at
            temperature 0.

    Returns:
        Ids (B,).
    """
    if not sampling.temperature:
        return logits.argmax(-1)
    assert rng is not None
    cumulated = probabilities(logits, sampling).cumsum(-1)
    drawn = rng.random((len(logits), 1)) * cumulated[:, -1:]
    return (cumulated > drawn).argmax(-1)


def probabilities(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The probability of each token, as the sampling wants it: temperature, top k, then nucleus.

    Args:
        logits: (B, V), large ones and −∞ included.
        sampling: `temperature`, above 0, divides the logits. If `top_k` is not 0 and below V, the
            k largest stay, and those equal to the k-th; the rest have probability 0. The softmax
            is taken over those that stay. If `top_p` is below 1, of these the fewest stay whose
            probabilities add up to at least p, the most probable first and of equal ones the
            lowest ids; then they are scaled up to a sum of 1.

    Returns:
        Probabilities (B, V) in float64; rows sum to 1.
    """
    x = logits.astype(np.float64) / sampling.temperature
    if 0 < sampling.top_k < x.shape[-1]:
        least = np.sort(x, -1)[:, -sampling.top_k, None]
        x = np.where(x >= least, x, -np.inf)
    p = np.exp(x - x.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    if sampling.top_p < 1:
        order = np.argsort(-p, -1, kind="stable")
        ranked = np.take_along_axis(p, order, -1)
        kept = ranked.cumsum(-1) - ranked < sampling.top_p  # what came before is not enough yet
        p = np.zeros_like(p)
        np.put_along_axis(p, order, ranked * kept, -1)
        p /= p.sum(-1, keepdims=True)
    return p


def penalised(logits: np.ndarray, seen: np.ndarray, penalty: float) -> np.ndarray:
    """Logits (B, V) with those of tokens that have occurred pushed down."""
    if penalty == 1:
        return logits
    lower = np.where(logits > 0, logits / penalty, logits * penalty)
    return np.where(seen, lower, logits)

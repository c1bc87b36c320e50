"""How wrong an output is: sampled rows, computed again in float64 on the host.

Nobody can compute all of a large attention in float64 while a benchmark waits, and nobody needs to:
a wrong tile shows in some of its rows. What is not sampled must at least be there: outputs are NaN
before a rung writes them, and no NaN may be left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from minivlm.ops.normalize import log_sum_exp

CHUNK = 1024  # rows of a float64 matrix that exist at once
PAIRS_CHUNK = 65536  # embeddings in float64 at once: 256 MiB at E = 512

# Of relative Frobenius norms, about twice what was measured over shapes and amplitudes on the CPU:
# for the values of attention, its gradients, and the gradients of pairs. For log-sum-exps, and the
# loss that is made of them, of the absolute error over max(1, |value|).
TOLERANCES = {
    "float32": {"values": 5e-6, "gradients": 1e-5, "pairs": 1e-5, "lse": 2e-6},
    "bfloat16": {"values": 4e-3, "gradients": 6e-3, "pairs": 4e-3, "lse": 1e-5},
}


class Error(NamedTuple):
    """How far off an output is, and how far it may be."""

    value: float
    tolerance: float

    @property
    def wrong(self) -> bool:
        """NaN is wrong, too."""
        return not self.value <= self.tolerance


def relative(got: np.ndarray, expected: np.ndarray, tolerance: float) -> Error:
    """The Frobenius norm of the difference, relative to the expected rows'."""
    norm = float(np.linalg.norm(expected))
    return Error(float(np.linalg.norm(got - expected)) / max(norm, 1e-30), tolerance)


def absolute(got: np.ndarray, expected: np.ndarray, tolerance: float) -> Error:
    """The largest difference, over the size of the number where that is over 1."""
    return Error(float(np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected)))), tolerance)


def sampled(rng: np.random.Generator, length: int, count: int) -> np.ndarray:
    """Rows to look at, sorted: the first, the last, and others at random."""
    if length <= count:
        return np.arange(length)
    others = rng.choice(np.arange(1, length - 1), count - 2, replace=False)
    return np.sort(np.concatenate([[0, length - 1], others]))


def attention_rows(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool, rows: np.ndarray
) -> dict[str, np.ndarray]:
    """One head's o (rows, C) and lse (rows,), in float64.

    Args:
        q: queries (T, C) of the head.
        k: keys (T, C).
        v: values (T, C).
        causal: no query looks past its own position.
        rows: positions of the queries that are asked for.
    """
    P, lse = _weights(q[rows], rows, k, causal)
    return {"o": P @ v, "lse": lse}


def attention_gradient_rows(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, do: np.ndarray, causal: bool, rows: np.ndarray
) -> dict[str, np.ndarray]:
    """One head's dq, dk and dv at the positions asked for, each (rows, C), in float64.

    The gradient of one key needs all queries, so that the head is computed whole, chunk by chunk.
    """
    T, C = q.shape
    dq = np.empty((T, C))
    dk, dv = np.zeros((len(rows), C)), np.zeros((len(rows), C))
    for here in _chunks(T, CHUNK):
        P, _ = _weights(q[here], np.arange(T)[here], k, causal)  # (chunk, T)
        dP = do[here] @ v.T
        D = (P * dP).sum(1, keepdims=True)
        dS = P * (dP - D)
        dq[here] = dS @ k / math.sqrt(C)
        dk += dS[:, rows].T @ q[here] / math.sqrt(C)
        dv += P[:, rows].T @ do[here]
    return {"dq": dq[rows], "dk": dk, "dv": dv}


def pair_lse_rows(mine: np.ndarray, others: torch.Tensor, scale: float) -> np.ndarray:
    """Log-sum-exps of scale · mine · othersᵀ along its rows, in float64.

    Args:
        mine: sampled embeddings (rows, E), on the host.
        others: all embeddings of the other side (N, E), on the device.
        scale: the inverse temperature.
    """
    lse = np.full(len(mine), -np.inf)
    for here in _chunks(len(others), PAIRS_CHUNK):
        logits = scale * mine @ host(others[here]).T  # (rows, chunk)
        lse = np.logaddexp(lse, log_sum_exp(logits, 1)[:, 0])
    return lse


def pair_gradient_rows(
    mine: np.ndarray,
    others: torch.Tensor,
    scale: float,
    rows: np.ndarray,
    lse: np.ndarray,
    others_lse: np.ndarray,
) -> np.ndarray:
    """The gradient of InfoNCE for sampled embeddings of one side, (rows, E), in float64.

    Args:
        mine: sampled embeddings (rows, E), on the host.
        others: all embeddings of the other side (N, E), on the device.
        scale: the inverse temperature.
        rows: which embeddings were sampled.
        lse: log-sum-exps of their logits (rows,).
        others_lse: log-sum-exps of the logits of each of the others (N,).
    """
    N = len(others)
    gradient = np.zeros(mine.shape)
    for here in _chunks(N, PAIRS_CHUNK):
        theirs = host(others[here])
        logits = scale * mine @ theirs.T  # (rows, chunk)
        slope = (np.exp(logits - lse[:, None]) + np.exp(logits - others_lse[here])) / 2
        slope -= np.arange(N)[here] == rows[:, None]  # who belongs together
        gradient += scale * slope @ theirs / N
    return gradient


def host(tensor: torch.Tensor) -> np.ndarray:
    """The numbers on the host, in float64."""
    return tensor.detach().cpu().double().numpy()


def _weights(
    q: np.ndarray, positions: np.ndarray, k: np.ndarray, causal: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Where queries look (rows, T), and the log-sum-exps of their scores (rows,)."""
    S = q @ k.T / math.sqrt(q.shape[1])
    if causal:
        S[np.arange(len(k)) > positions[:, None]] = -np.inf
    lse = log_sum_exp(S, 1)
    return np.exp(S - lse), lse[:, 0]


def _chunks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))

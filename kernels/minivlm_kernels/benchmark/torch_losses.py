"""The contrastive loss as one writes it in PyTorch, which has no function for it.

Two ways stand for all: the dense one of every CLIP in PyTorch, whose N×N matrix is the wall, and
one that walks over chunks of rows and computes each again on the way back, as those do who have hit
the wall.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

CHUNK = 1024  # rows of logits that exist at once


def dense_loss(image: torch.Tensor, text: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """CLIP's loss as it is written in PyTorch, with the logits as a matrix."""
    logits = (log_scale.exp() * image @ text.T).float()  # (N, N)
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def chunked_loss(image: torch.Tensor, text: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """The same, a chunk of rows at a time, each direction for itself; no logits are kept."""

    def surprise(ours: torch.Tensor, theirs: torch.Tensor, start: int) -> torch.Tensor:
        logits = (log_scale.exp() * ours @ theirs.T).float()  # (chunk, N)
        labels = torch.arange(start, start + len(ours), device=logits.device)
        return F.cross_entropy(logits, labels, reduction="sum")

    total = torch.zeros((), device=image.device)
    for ours, theirs in ((image, text), (text, image)):
        for number, part in enumerate(ours.split(CHUNK)):
            total = total + checkpoint(
                surprise,
                part,
                theirs,
                number * CHUNK,
                use_reentrant=False,
                preserve_rng_state=False,
            )
    return total / (2 * len(image))


def log_sum_exps(
    image: torch.Tensor, text: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the logits along rows and along columns, (N,) each, in float32 on the device."""
    text = text.float()
    rows = []
    columns = torch.full((len(text),), -torch.inf, device=text.device)
    for part in image.split(CHUNK):
        logits = scale * part.float() @ text.T  # (chunk, N)
        rows.append(logits.logsumexp(1))
        columns = torch.logaddexp(columns, logits.logsumexp(0))
    return torch.cat(rows), columns

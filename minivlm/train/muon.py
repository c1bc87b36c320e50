"""Muon: every direction of a matrix's update gets the same length.

The momentum of a weight matrix is mostly a few strong directions; rare ones, which may matter as
much, barely move. Muon replaces it by the nearest matrix whose singular values are all about 1,
found with a few matrix products. On the scenes it was far better than AdamW at equal time.

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"
(kellerjordan.github.io/posts/muon).
"""

from collections.abc import Mapping

import numpy as np

from minivlm.tensor import Array, Tensor
from minivlm.train.optim import AdamW

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the quintic's coefficients, tuned for speed
TABLES = ("tokens", "positions")  # two axes, but rows are looked up rather than multiplied


class Muon(AdamW):
    """Orthogonalised momentum for hidden matrices, AdamW for everything else.

    Args:
        parameters: by name.
        lr: learning rate of hidden matrices; an update's typical element is lr / √width.
        adamw_lr: learning rate of the rest.
        momentum: share of the old direction kept at each step.
        weight_decay: pulls matrices towards 0, scaled by their learning rate.
        adamw_weight_decay: the same for the rest, tables of embeddings above all.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        lr: float = 0.02,
        adamw_lr: float = 0.002,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        adamw_weight_decay: float = 0.1,
    ):
        super().__init__(parameters, adamw_lr, weight_decay=adamw_weight_decay)
        self.matrix_lr, self.momentum, self.matrix_decay = lr, momentum, weight_decay
        self.hidden = {n for n, p in self.parameters.items() if is_hidden_matrix(n, p)}
        for name in self.hidden:
            del self.memories["square"][name]

    def update(self, name: str, p: Tensor, grad: Array, factor: float) -> None:
        """Move one parameter, in place."""
        if name not in self.hidden:
            super().update(name, p, grad, factor)
            return
        mean = self.memories["mean"][name]
        mean *= self.momentum
        mean += (1 - self.momentum) * grad
        ahead = self.momentum * mean + (1 - self.momentum) * grad  # Nesterov: a look further
        rows, columns = p.shape
        lr = self.matrix_lr * factor
        p.data *= 1 - lr * self.matrix_decay
        p.data -= lr * max(1.0, rows / columns) ** 0.5 * orthogonalised(ahead)


def is_hidden_matrix(name: str, p: Tensor) -> bool:
    """Whether Muon moves a parameter: a map between features, not a table and not a sliver."""
    return p.ndim == 2 and min(p.shape) > 8 and not any(table in name for table in TABLES)


def orthogonalised(matrix: Array, steps: int = 5) -> Array:
    """A matrix with the same singular vectors, whose singular values are all near 1 (0.6..1.3).

    Each step maps every singular value s to a·s + b·s³ + c·s⁵, which drives those in 0..1 there.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    X = matrix.T if tall else matrix
    X = X / (np.sqrt((X * X).sum()) + 1e-7)  # Frobenius norm: no singular value is above 1
    for _ in range(steps):
        A = X @ X.T
        X = a * X + (b * A + c * (A @ A)) @ X
    return X.T if tall else X

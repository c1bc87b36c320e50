"""How gradients move weights: stochastic gradient descent with momentum, and AdamW.

An optimizer keeps its memories in `state`, one dict of arrays a memory, so that saving a run and
resuming it is a matter of names.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minivlm.errors import InputError
from minivlm.tensor import Array, Tensor


class Optimizer:
    """What all optimizers share: which parameters they move, and what they remember.

    Args:
        parameters: by name; frozen ones are left out.
        memories: names of the arrays kept for each parameter, which start at 0.

    Attributes:
        steps: updates so far.
    """

    def __init__(self, parameters: Mapping[str, Tensor], memories: tuple[str, ...]):
        self.parameters = {n: p for n, p in parameters.items() if p.requires_grad}
        if not self.parameters:
            raise ValueError("there is no parameter to move: all are frozen")
        self.memories: dict[str, dict[str, Array]] = {
            memory: {n: np.zeros_like(p.data) for n, p in self.parameters.items()}
            for memory in memories
        }
        self.steps = 0

    def step(self, factor: float = 1.0) -> None:
        """Move every parameter that has a gradient; `factor` scales the learning rates."""
        self.steps += 1
        for name, p in self.parameters.items():
            if p.grad is not None:
                self.update(name, p, p.grad, factor)

    def update(self, name: str, p: Tensor, grad: Array, factor: float) -> None:
        """Move one parameter, in place."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters.values():
            p.grad = None

    def state_dict(self) -> dict[str, Array]:
        """Everything remembered, under names such as `momentum.vision.positions`."""
        state = {
            f"{memory}.{name}": array
            for memory, arrays in self.memories.items()
            for name, array in arrays.items()
        }
        return state | {"steps": np.array(self.steps)}

    def load_state_dict(self, state: Mapping[str, Array], source: str = "the state dict") -> None:
        """Remember what `state_dict` gave.

        Raises:
            InputError: a key is missing, unknown, or of another shape or dtype; nothing is changed.
        """
        mine = self.state_dict()
        if wrong := sorted(mine.keys() ^ state.keys()):
            verb = "lacks" if wrong[0] in mine else "has an unknown"
            raise InputError(f"{source} {verb} optimizer key {wrong[0]}")
        for name, array in mine.items():
            theirs = state[name]
            if theirs.shape != array.shape or theirs.dtype != array.dtype:
                raise InputError(
                    f"{source} has optimizer key {name} of shape {theirs.shape} {theirs.dtype}, "
                    f"not {array.shape} {array.dtype}"
                )
        if int(state["steps"]) < 0:
            raise InputError(f"{source} has optimizer key steps {state['steps']}, below 0")
        for memory, arrays in self.memories.items():
            for name, array in arrays.items():
                array[...] = state[f"{memory}.{name}"]
        self.steps = int(state["steps"])


class SGD(Optimizer):
    """Stochastic gradient descent with momentum: m ← βm + g, p ← p − lr·m.

    Source: Polyak 1964, in the form of torch.optim.SGD.
    """

    def __init__(self, parameters: Mapping[str, Tensor], lr: float, momentum: float = 0.9):
        super().__init__(parameters, ("momentum",))
        self.lr, self.momentum = lr, momentum

    def update(self, name: str, p: Tensor, grad: Array, factor: float) -> None:
        """Move one parameter, in place."""
        m = self.memories["momentum"][name]
        m *= self.momentum
        m += grad
        p.data -= self.lr * factor * m


class AdamW(Optimizer):
    """Steps of even size: the mean gradient over the root of the mean squared gradient.

    Weight decay pulls matrices and tables towards 0, apart from the gradient; gains, biases and
    the temperature, which have fewer than two axes, are left alone (`decays`).

    Source: Kingma & Ba 2014, arXiv:1412.6980, algorithm 1; Loshchilov & Hutter 2017,
    arXiv:1711.05101, algorithm 2.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
    ):
        super().__init__(parameters, ("mean", "square"))
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay

    def update(self, name: str, p: Tensor, grad: Array, factor: float) -> None:
        """Move one parameter, in place."""
        mean, square = self.memories["mean"][name], self.memories["square"][name]
        beta1, beta2 = self.betas
        mean *= beta1
        mean += (1 - beta1) * grad
        square *= beta2
        square += (1 - beta2) * (grad * grad)
        unbiased_mean = mean / (1 - beta1**self.steps)
        unbiased_square = square / (1 - beta2**self.steps)
        if decays(p):
            p.data *= 1 - self.lr * factor * self.weight_decay
        p.data -= self.lr * factor * unbiased_mean / (np.sqrt(unbiased_square) + self.eps)


def decays(p: Tensor) -> bool:
    """Whether weight decay applies: to matrices, tables and kernels, not to single vectors."""
    return p.ndim >= 2

"""Low-rank adaptation: a frozen matrix, and beside it a thin detour that learns.

W + (α/r)·B·A has the shape of W, but only A (r, D) and B (E, r) are trained. B starts at 0, so that
nothing changes at first; merging adds the product into W, after which the detour costs nothing.

Source: Hu et al. 2021, arXiv:2106.09685, section 4.1; A's start: microsoft/LoRA, loralib/layers.py.
"""

import math
from collections.abc import Collection, Iterator

import numpy as np

from minivlm.nn.layers import Linear
from minivlm.nn.module import Module, freeze, parameter
from minivlm.ops.linear import linear
from minivlm.tensor import Tensor


class LoRALinear(Module):
    """A linear layer that is frozen, plus a low-rank detour.

    Args:
        base: the layer; its parameters are frozen.
        rank: r, width of the detour.
        alpha: the detour is multiplied by alpha / rank.
        rng: draws A.

    Raises:
        ValueError: the rank is not positive, or larger than the matrix.
    """

    def __init__(self, base: Linear, rank: int, alpha: float, rng: np.random.Generator):
        out, width = base.weight.shape
        if not 1 <= rank <= min(out, width):
            raise ValueError(f"rank {rank} is not in 1..{min(out, width)}")
        freeze(base)
        bound = 1 / math.sqrt(width)  # kaiming_uniform with a = √5, in PyTorch's words
        self.base = base
        self.down = parameter(rng.uniform(-bound, bound, (rank, width)))
        self.up = parameter(np.zeros((out, rank)))
        self.scale = alpha / rank

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., E)."""
        return self.base(x) + linear(linear(x, self.down), self.up) * self.scale

    def merged(self) -> Linear:
        """The base layer with the detour added into its weight: a plain, trainable layer again."""
        detour = self.up.data @ self.down.data * self.scale
        self.base.weight.data = self.base.weight.data + detour
        for p in self.base.parameters():
            p.requires_grad = True
        return self.base


def add_lora(
    model: Module, names: Collection[str], rank: int, alpha: float, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Put a detour beside every linear layer that is an attribute of one of these names.

    Args:
        model: changed in place; everything else in it stays as trainable as it was.
        names: such as {"q", "v"}.
        rank: see `LoRALinear`.
        alpha: see `LoRALinear`.
        rng: see `LoRALinear`.

    Returns:
        The new parameters by name: what an adapter file holds.

    Raises:
        ValueError: no linear layer has such a name.
    """
    places = [(m, n) for m in _modules(model) for n in names if type(vars(m).get(n)) is Linear]
    if not places:
        raise ValueError(f"the model has no linear layer named {' or '.join(sorted(names))}")
    for module, name in places:
        setattr(module, name, LoRALinear(getattr(module, name), rank, alpha, rng))
    return lora_parameters(model)


def lora_parameters(model: Module) -> dict[str, Tensor]:
    """The parameters of all detours by name."""
    detours = {id(p) for m in _modules(model) if isinstance(m, LoRALinear) for p in (m.down, m.up)}
    return {name: p for name, p in model.named_parameters().items() if id(p) in detours}


def merge_lora(model: Module) -> None:
    """Put plain linear layers back, with their detours added in; in place."""
    for module in list(_modules(model)):
        for name, child in list(vars(module).items()):
            if isinstance(child, LoRALinear):
                setattr(module, name, child.merged())


def _modules(value: object) -> Iterator[Module]:
    """A module and every module below it."""
    if isinstance(value, Module):
        yield value
        for child in list(vars(value).values()):
            yield from _modules(child)
    elif isinstance(value, list | tuple | dict):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _modules(child)

"""A module is an object whose attributes hold parameters, and other modules that hold more.

Parameters are found by walking the attributes, lists and dicts included. There is no registry
and no `__setattr__` magic: what `vars(module)` shows in a debugger is all there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import numpy as np

from minivlm.device import to_device
from minivlm.errors import InputError
from minivlm.tensor import Array, Tensor


class Module:
    """What all modules can do: name their parameters, save, load, freeze, change type or place."""

    def named_parameters(self) -> dict[str, Tensor]:
        """Every parameter under its path, such as `blocks.3.attn.q.weight`; shared ones once."""
        found: dict[int, tuple[str, Tensor]] = {}
        for name, tensor in _walk("", self):
            found.setdefault(id(tensor), (name, tensor))
        return dict(found.values())

    def parameters(self) -> list[Tensor]:
        """Every parameter, in the order of the attributes."""
        return list(self.named_parameters().values())

    def size(self) -> int:
        """The number of numbers in all of `parameters()`, where a shared one stands once."""
        return sum(p.data.size for p in self.parameters())

    def state_dict(self) -> dict[str, Array]:
        """The arrays of all parameters by name: the arrays themselves, not copies."""
        return {name: p.data for name, p in self.named_parameters().items()}

    def load_state_dict(self, arrays: Mapping[str, Array], source: str = "the state dict") -> None:
        """Take every parameter from `arrays`, keeping this model's dtype and device.

        Raises:
            InputError: keys are missing, not used, or of another shape; all of them in one
                message, and nothing is changed.
        """
        mine = self.named_parameters()
        complaints = []
        if missing := sorted(mine.keys() - arrays.keys()):
            complaints.append(f"lacks {_listing(missing)}")
        if unused := sorted(arrays.keys() - mine.keys()):
            complaints.append(f"has {_listing(unused)}, which the model has no place for")
        for name in sorted(mine.keys() & arrays.keys()):
            if mine[name].shape != arrays[name].shape:
                shapes = f"{tuple(arrays[name].shape)} where the model has {mine[name].shape}"
                complaints.append(f"has {name} of shape {shapes}")
        if complaints:
            raise InputError(f"{source} {'; '.join(complaints)}")
        for name, p in mine.items():
            p.data = np.array(arrays[name], dtype=p.dtype, like=p.data)

    def astype(self, dtype: type) -> Self:
        """Change all parameters to a dtype, in place: float64 for gradient checks."""
        for p in self.parameters():
            p.data, p.grad = p.data.astype(dtype), None
        return self

    def to(self, device: str) -> Self:
        """Move all parameters to "cpu" or "cuda", in place."""
        for p in self.parameters():
            p.data, p.grad = to_device(p.data, device), None
        return self


def parameter(values: Array) -> Tensor:
    """A leaf that training moves, in float32."""
    return Tensor(np.asarray(values, np.float32), requires_grad=True)


def freeze(*modules: Module) -> None:
    """Training leaves these parameters alone; the tape skips their gradients altogether."""
    for module in modules:
        for p in module.parameters():
            p.requires_grad, p.grad = False, None


def unfreeze(*modules: Module) -> None:
    """Training moves these parameters again."""
    for module in modules:
        for p in module.parameters():
            p.requires_grad = True


def _walk(name: str, value: object) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
        return
    children: Iterable[tuple[object, object]] = ()
    if isinstance(value, Module):
        children = vars(value).items()
    elif isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list | tuple):
        children = enumerate(value)
    for key, child in children:
        yield from _walk(f"{name}.{key}" if name else str(key), child)


def _listing(names: list[str], most: int = 8) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest

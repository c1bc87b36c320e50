"""What a `.cu` file declares: its kernels, and the type of each parameter."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from minivlm_kernels.arrays import BF16

KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+'
    r"(?:__launch_bounds__\s*\(((?:[^()]|\([^()]*\))*)\)\s*)?"
    r"(\w+)\s*\(([^)]*)\)"
)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
TYPES = {  # of parameters, by what is written in a .cu file
    "float": np.dtype(np.float32),
    "float2": np.dtype(np.float32),
    "float4": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "bf16": BF16,
    "__nv_bfloat16": BF16,
    "int": np.dtype(np.int32),
    "unsigned": np.dtype(np.uint32),
    "unsigned int": np.dtype(np.uint32),
    "uint32_t": np.dtype(np.uint32),
    "long long": np.dtype(np.int64),
    "unsigned short": np.dtype(np.uint16),
    "unsigned char": np.dtype(np.bool_),
    "bool": np.dtype(np.bool_),
}


class Parameter(NamedTuple):
    """A parameter of a kernel, as its `.cu` file declares it."""

    name: str
    dtype: np.dtype
    is_pointer: bool
    is_const: bool


class Kernel(NamedTuple):
    """What a `.cu` file says of a kernel.

    Attributes:
        parameters: in their order.
        launch_bounds: the expressions in `__launch_bounds__(…)`, or nothing.
    """

    parameters: list[Parameter]
    launch_bounds: str


def declared(text: str) -> dict[str, Kernel]:
    """The kernels of a `.cu` file by name.

    Raises:
        ValueError: a parameter is of a type that NumPy has no name for.
    """
    kernels = {}
    for bounds, name, parameters in KERNEL.findall(COMMENT.sub(" ", text)):
        words = [part for part in parameters.split(",") if part.strip()]
        kernels[name] = Kernel([_parameter(name, part) for part in words], bounds)
    return kernels


def _parameter(kernel: str, words: str) -> Parameter:
    """Such as `const float* scale`."""
    *kind, name = words.replace("*", " * ").replace("__restrict__", " ").split()
    base = " ".join(word for word in kind if word not in ("const", "*"))
    if base not in TYPES:
        known = ", ".join(TYPES)
        raise ValueError(f"{kernel}: {name} is of type {base!r}, which is none of {known}")
    return Parameter(name, TYPES[base], "*" in kind, kind[0] == "const")

"""What a `.cu` file declares: its kernels, and the type of each parameter."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from minivlm_kernels.arrays import BF16

KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)'
)
TYPES = {  # of parameters, by what is written in a .cu file
    "float": np.dtype(np.float32),
    "bf16": BF16,
    "__nv_bfloat16": BF16,
    "int": np.dtype(np.int32),
    "unsigned": np.dtype(np.uint32),
    "long long": np.dtype(np.int64),
    "unsigned char": np.dtype(np.bool_),
    "bool": np.dtype(np.bool_),
}


class Parameter(NamedTuple):
    """A parameter of a kernel, as its `.cu` file declares it."""

    name: str
    dtype: np.dtype
    is_pointer: bool
    is_const: bool


def declared(text: str) -> dict[str, list[Parameter]]:
    """The kernels of a `.cu` file and their parameters."""
    text = re.sub(r"//[^\n]*", "", text)
    kernels = {}
    for name, parameters in KERNEL.findall(text):
        kernels[name] = [_parameter(words) for words in parameters.split(",")]
    return kernels


def _parameter(words: str) -> Parameter:
    """Such as `const float* scale`."""
    kind, name = re.fullmatch(r"\s*(.*?)(\w+)\s*", words, re.DOTALL).groups()  # pyright: ignore
    kind = " ".join(kind.replace("__restrict__", " ").split())
    is_const, is_pointer = kind.startswith("const "), "*" in kind
    base = kind.removeprefix("const ").replace("*", "").strip()
    if base not in TYPES:
        raise ValueError(f"a kernel's parameter may not be of type {base!r}")
    return Parameter(name, TYPES[base], is_pointer, is_const)

"""Arrays for kernels under test, on the host or, with MINIVLM_DEVICE=cuda, on the GPU."""

import numpy as np

from minivlm.device import to_device, to_host
from minivlm_kernels.arrays import BF16
from tests.kernels.conftest import ON_GPU


def place(array):
    """The array where the kernels under test run."""
    return to_device(array, "cuda") if ON_GPU else array


def back(array):
    """The array on the host."""
    return to_host(array)


def normal(rng, *shape, dtype=np.float32, amplitude=1.0):
    """Random numbers of the dtype (float32 or BF16), on the host."""
    return (amplitude * rng.standard_normal(shape)).astype(np.float32).astype(dtype)


def unit_rows(rng, N, E, dtype=np.float32):
    """Random embeddings of unit length (N, E), on the host."""
    x = rng.standard_normal((N, E))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32).astype(dtype)


__all__ = ["BF16", "back", "normal", "place", "unit_rows"]

"""Positions as angles: queries and keys turn with their position, so products see distances.

Source: Su et al. 2021, arXiv:2104.09864, in the "rotate half" layout of Llama's published weights.
"""

import math

import numpy as np

from minivlm.tensor import Array, Tensor, record


def rotary(x: Tensor, cos: Array, sin: Array) -> Tensor:
    """Turn each pair of channels (c, c + C/2) by the angle of its position.

    Args:
        x: queries or keys (B, H, T, C).
        cos: cosines of the angles, broadcastable to (B, H, T, C/2).
        sin: sines of the angles, likewise.

    Returns:
        The shape of x, each vector as long as before.

    Raises:
        ValueError: C is odd, or cos and sin have another width than C/2.
    """
    C = x.shape[-1]
    if C % 2 or cos.shape[-1] != C // 2 or sin.shape != cos.shape:
        raise ValueError(f"{C} channels cannot turn by angles {cos.shape} and {sin.shape}")
    # Turning back by the same angle is the transposed rotation, and so the vjp.
    return record(_turn(x.data, cos, sin), (x, lambda dy: _turn(dy, cos, -sin)))


def rotary_angles(
    positions: Array, channels: int, base: float = 10000.0, dtype: type = np.float32
) -> tuple[Array, Array]:
    """Cosines and sines (..., T, C/2) for positions (..., T): slow hands and fast ones.

    Pair c turns by base^(−2c/C) radians a step; angles are computed in float64, whatever `dtype`.
    """
    pairs = np.arange(0, channels, 2, dtype=np.float64, like=positions)
    speed = np.exp(pairs * (-math.log(base) / channels))  # radians a position
    angle = positions[..., None] * speed
    return np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)


def _turn(x: Array, cos: Array, sin: Array) -> Array:
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

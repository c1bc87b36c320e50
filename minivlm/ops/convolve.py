"""Looking at a picture through small windows: convolution, pooling, patches.

A convolution is a sum of shifted matrix products, one for each tap of its kernel. Its three
functions, value and two gradients, walk over the same taps and the same slices.
"""

from collections.abc import Iterator

import numpy as np

from minivlm.tensor import Array, Tensor, record


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """Slide a kernel over pictures: cross-correlation, as every deep learning library has it.

    Args:
        x: pictures (B, I, height, width).
        weight: kernels (O, I, kernel height, kernel width).
        bias: (O,) or None.
        stride: pixels from one window to the next.
        padding: rows and columns of zeros on each side.

    Returns:
        Pictures (B, O, rows, columns).

    Raises:
        ValueError: x and weight differ in I, or the kernel is larger than the padded picture.
    """
    B, channels, height, width = x.shape
    W = weight.data
    if W.shape[1] != channels:
        raise ValueError(f"a picture of {channels} channels meets a kernel of shape {W.shape}")
    if W.shape[2] > height + 2 * padding or W.shape[3] > width + 2 * padding:
        raise ValueError(f"kernel {W.shape[2:]} exceeds picture {(height, width)} + 2·{padding}")
    rows = (height + 2 * padding - W.shape[2]) // stride + 1
    columns = (width + 2 * padding - W.shape[3]) // stride + 1
    border = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    X = np.pad(x.data, border)
    padded = X.shape

    def taps() -> Iterator[tuple[int, int, tuple]]:
        """Each tap of the kernel, and the pixels that it meets as the windows slide."""
        for i in range(W.shape[2]):
            for j in range(W.shape[3]):
                down = slice(i, i + stride * rows, stride)
                across = slice(j, j + stride * columns, stride)
                yield i, j, (slice(None), slice(None), down, across)

    def conv2d_dx(dy: Array) -> Array:
        dX = np.zeros(padded, dy.dtype, like=dy)
        for i, j, pixels in taps():
            dX[pixels] += np.einsum("bohw,oi->bihw", dy, W[:, :, i, j], optimize=True)
        return dX[:, :, padding : padding + height, padding : padding + width]

    def conv2d_d_weight(dy: Array) -> Array:
        dW = np.empty_like(W)
        for i, j, pixels in taps():
            dW[:, :, i, j] = np.einsum("bohw,bihw->oi", dy, X[pixels], optimize=True)
        return dW

    y = np.zeros((B, len(W), rows, columns), X.dtype, like=X)
    for i, j, pixels in taps():
        y += np.einsum("bihw,oi->bohw", X[pixels], W[:, :, i, j], optimize=True)
    if bias is None:
        return record(y, (x, conv2d_dx), (weight, conv2d_d_weight))
    y += bias.data[:, None, None]
    d_bias = (bias, lambda dy: dy.sum((0, 2, 3)))
    return record(y, (x, conv2d_dx), (weight, conv2d_d_weight), d_bias)


def avg_pool2d(x: Tensor, size: int) -> Tensor:
    """The mean of each size × size window; windows do not overlap, and a remainder is cut off.

    Args:
        x: pictures (B, C, height, width).
        size: side of a window in pixels.

    Returns:
        Pictures (B, C, height // size, width // size).

    Raises:
        ValueError: the window is larger than the picture.
    """
    B, C, height, width = x.shape
    rows, columns = height // size, width // size
    if not rows or not columns:
        raise ValueError(f"a window of side {size} exceeds picture {(height, width)}")
    cut = x.data[:, :, : rows * size, : columns * size]
    y = cut.reshape(B, C, rows, size, columns, size).mean((3, 5))

    def avg_pool2d_dx(dy: Array) -> Array:
        dx = np.zeros((B, C, height, width), dy.dtype, like=dy)
        share = (dy / (size * size)).repeat(size, 2).repeat(size, 3)
        dx[:, :, : rows * size, : columns * size] = share
        return dx

    return record(y, (x, avg_pool2d_dx))


def patches(x: Tensor, side: int) -> Tensor:
    """Cut pictures into a grid of squares, and lay each square out as one vector.

    A linear map of these vectors is a convolution whose stride is its kernel: a ViT's first step.

    Args:
        x: pictures (B, C, height, width).
        side: P, side of a square in pixels.

    Returns:
        Squares in reading order (B, N, C·P·P), each channel by channel, row by row.

    Raises:
        ValueError: the side does not divide height and width.

    Source: Dosovitskiy et al. 2020, arXiv:2010.11929, section 3.1.
    """
    B, C, height, width = x.shape
    if height % side or width % side:
        raise ValueError(f"patches of side {side} do not tile a picture of {height}×{width}")
    rows, columns = height // side, width // side

    def patches_dx(dy: Array) -> Array:
        squares = dy.reshape(B, rows, columns, C, side, side)
        return squares.transpose(0, 3, 1, 4, 2, 5).reshape(B, C, height, width)

    squares = x.data.reshape(B, C, rows, side, columns, side)
    y = squares.transpose(0, 2, 4, 1, 3, 5).reshape(B, rows * columns, -1)
    return record(y, (x, patches_dx))

"""One matrix for every position: where most of the time goes, all of it inside BLAS."""

from minivlm.tensor import Array, Tensor, record


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b, with PyTorch's layout of W, so that published weights need no transposing.

    An op of its own: a generic matmul would build one weight gradient for each batch entry, and
    sum them after.

    Args:
        x: features (..., D).
        weight: (E, D).
        bias: (E,) or None.

    Returns:
        Features (..., E).

    Raises:
        ValueError: x and weight differ in D.
    """
    D, W = x.shape[-1], weight.data
    if W.shape[1] != D:
        raise ValueError(f"features of width {D} meet a weight of shape {W.shape}")
    shape = x.shape
    rows = x.data.reshape(-1, D)
    y = rows @ W.T
    if bias is not None:
        y += bias.data

    def linear_dx(dy: Array) -> Array:
        return (dy.reshape(-1, len(W)) @ W).reshape(shape)

    def linear_d_weight(dy: Array) -> Array:
        return dy.reshape(-1, len(W)).T @ rows

    def linear_d_bias(dy: Array) -> Array:
        return dy.reshape(-1, len(W)).sum(0)

    edges = [(x, linear_dx), (weight, linear_d_weight)]
    if bias is not None:
        edges.append((bias, linear_d_bias))
    return record(y.reshape(*shape[:-1], len(W)), *edges)

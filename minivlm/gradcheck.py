"""Does a gradient written by hand agree with the slope that one measures?

Along a random direction d, a function's slope is (f(x + hd) − f(x − hd)) / 2h up to an error of
order h². Two evaluations test all elements of a gradient at once; in float64, agreement to six
digits is what a right gradient gives and a wrong one does not.

Source: Griewank & Walther 2008, "Evaluating Derivatives", ch. 3.
"""

from collections.abc import Callable

import numpy as np

from minivlm.tensor import Tensor, no_grad


def gradcheck(
    f: Callable[..., Tensor],
    *inputs: Tensor,
    rng: np.random.Generator,
    step: float = 1e-6,
    tolerance: float = 1e-6,
) -> None:
    """Hold the gradient of `f` against central differences, one input at a time.

    Args:
        f: takes the inputs and returns a tensor of any shape.
        inputs: float64 leaves; those that require a gradient are checked.
        rng: draws the weights that turn the output into a scalar, and the directions.
        step: h, the distance to each side.
        tolerance: largest accepted difference, relative to the gradient's length (which is what
            a slope along a random direction is worth) or to 1, whichever is more.

    Raises:
        ValueError: an input is not float64.
        AssertionError: a gradient has another shape than its input, or another slope.
    """
    for number, x in enumerate(inputs):
        if x.dtype != np.float64:
            raise ValueError(f"input {number} is {x.dtype}; gradients are checked in float64")
        x.grad = None

    y = f(*inputs)
    weight = rng.standard_normal(y.shape)  # a random sum of outputs: no symmetry can hide an error
    if not y.requires_grad:
        raise AssertionError(f"the output does not depend on any input: {y!r}")
    (y * weight).sum().backward()

    for number, x in enumerate(inputs):
        if not x.requires_grad:
            continue
        grad = np.zeros_like(x.data) if x.grad is None else x.grad
        if grad.shape != x.shape:
            raise AssertionError(f"input {number} is {x.shape}, its gradient {grad.shape}")
        direction = rng.standard_normal(x.shape)
        measured = slope(lambda: float((f(*inputs).data * weight).sum()), x, direction, step)
        claimed = float((grad * direction).sum())
        scale = max(1.0, float(np.sqrt((grad * grad).sum())))
        if not abs(measured - claimed) <= tolerance * scale:  # a NaN fails, too
            raise AssertionError(
                f"input {number} {x.shape}: the gradient says {claimed:.10g} along a random "
                f"direction, central differences say {measured:.10g}"
            )


def slope(value: Callable[[], float], x: Tensor, direction: np.ndarray, step: float) -> float:
    """How fast `value()` changes as x moves along a direction, by a step to each side.

    Args:
        value: computes a number from x, without arguments; called under `no_grad`.
        x: a leaf that `value` reads; its array is exchanged for the two steps and put back.
        direction: of the shape of x.
        step: h, how far to go each way, in units of the direction.

    Returns:
        (value(x + h·direction) − value(x − h·direction)) / 2h, whose error is of order h².
    """
    start = x.data
    with no_grad():
        x.data = start + step * direction
        ahead = value()
        x.data = start - step * direction
        behind = value()
        x.data = start
    return (ahead - behind) / (2 * step)

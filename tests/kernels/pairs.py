"""What tests of the contrastive rungs share: batches, the right answers, and how close is close."""

import math
import warnings

import numpy as np

from minivlm.ops.contrastive import contrast_sigmoid
from minivlm_kernels.arrays import F32
from tests.kernels.oracles import double, info_nce
from tests.kernels.places import back, place, unit_rows

UNDERFLOW = 1e-30  # float32 has no digits for what is much smaller


def one(x):
    return np.array([x], F32)


def batch(N, E, seed=0):
    rng = np.random.default_rng(seed)
    return unit_rows(rng, N, E), unit_rows(rng, N, E)


def run(function, *inputs, **options):
    """What a rung gives, on the host; all of it float32."""
    results = function(*map(place, inputs), **options)
    results = results if isinstance(results, tuple) else (results,)
    assert all(x.dtype == F32 for x in results)
    return [F32.type(x) if x.ndim == 0 else back(x) for x in results]


def right_lses(image, text, scale):
    """What `backward` is given, so that it does not depend on a forward pass under test."""
    _, row_lse, col_lse, *_ = info_nce(image, text, scale[0])
    return row_lse.astype(F32), col_lse.astype(F32)


def sigmoid_loss(image, text, scale, bias):
    """Nats, and gradients for image, text, log(scale) and bias, in float64."""
    loss = contrast_sigmoid.dispatch(object)
    nats, backward = loss(double(image), double(text), double(scale[0]), double(bias[0]))
    return nats, *backward(np.float64(1))


def close(got, expected, tolerance, size=0.0):
    """The difference is small beside `expected`, or beside a `size` of parts that may cancel."""
    assert np.shape(got) == np.shape(expected)
    error = np.linalg.norm(double(got) - expected)
    return bool(error <= tolerance * max(np.linalg.norm(expected), size, UNDERFLOW))


def all_close(got, expected, tolerance, sizes):
    return all(
        close(g, x, tolerance, size) for g, x, size in zip(got, expected, sizes, strict=True)
    )


def digits_lost(logits):
    """A logit's error in float32 grows with it, and exp makes of it a relative one."""
    return max(1.0, np.abs(logits).max() / 30)


def gradients_right(got, image, text, scale):
    """InfoNCE's. What is thought and what is true, each of norm 1/√N or less, may cancel."""
    *_, d_image, d_text, d_log_scale = info_nce(image, text, scale[0])
    logits = scale * double(image) @ double(text).T
    sizes = scale[0] / math.sqrt(len(image)), scale[0] / math.sqrt(len(image)), scale[0]
    return all_close(got, (d_image, d_text, d_log_scale), 1e-5 * digits_lost(logits), sizes)


def sigmoid_gradients_right(got, image, text, scale, bias):
    """SigLIP's. The slopes of the pairs that match and of those that do not may cancel."""
    _, *expected = sigmoid_loss(image, text, scale, bias)
    logits = scale * double(image) @ double(text).T
    likely = np.exp(-np.logaddexp(0, -logits - bias))
    slopes = np.abs(likely - np.eye(len(image))) / len(image)
    along = scale[0] * np.linalg.norm(slopes)
    sizes = along, along, np.sum(slopes * np.abs(logits)), np.sum(slopes)
    return all_close(got, expected, 1e-5 * digits_lost(logits + bias), sizes)


def calls(rung, image, text, scale, bias, lses):
    """The functions of a rung with what each takes."""
    inputs = {
        "forward": (image, text, scale),
        "backward": (image, text, scale, *lses),
        "sigmoid_forward": (image, text, scale, bias),
        "sigmoid_backward": (image, text, scale, bias),
    }
    return [(getattr(rung, name), inputs[name]) for name in inputs if hasattr(rung, name)]


def all_right(rung, image, text, scale, bias, **options):
    """Each function of a rung gives what it should; with warnings off, for wrong ones."""
    lses = right_lses(image, text, scale)
    right = info_nce(image, text, scale[0])[:3]
    nats = sigmoid_loss(image, text, scale, bias)[:1]
    checks = {
        "forward": lambda *got: all_close(got, right, 1e-5, (0, 0, 0)),
        "backward": lambda *got: gradients_right(got, image, text, scale),
        "sigmoid_forward": lambda *got: all_close(got, nats, 1e-5, (0,)),
        "sigmoid_backward": lambda *got: sigmoid_gradients_right(got, image, text, scale, bias),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return all(
            checks[function.__name__](*run(function, *inputs, **options))
            for function, inputs in calls(rung, image, text, scale, bias, lses)
        )

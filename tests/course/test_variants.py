"""A variant's gradient is the slope of its own value: who derives it correctly has to pass."""

import numpy as np
import pytest

from minivlm.course import overlay
from minivlm.course.check import changed
from minivlm.course.record import catalogue, find
from minivlm.course.vjps import vjps
from minivlm.ops.contrastive import contrast
from minivlm.ops.convolve import patches
from minivlm.ops.losses import IGNORE, cross_entropy_arrays
from minivlm.ops.normalize import layer_norm_arrays, softmax_arrays, unit_length
from minivlm.tensor import Tensor

LABELS = np.array([[0, IGNORE, 3], [1, 1, 2]])
rng = np.random.default_rng(3)
GAIN, OFFSET = rng.standard_normal((3, 4)), rng.standard_normal(4)


def softmax(x):
    y, backward = softmax_arrays(x, 1)
    return y, backward


def cross_entropy(x):
    return cross_entropy_arrays(x, LABELS, 0.1)


def layer_norm(x):
    y, (dx, _, _) = layer_norm_arrays(x, GAIN[0], OFFSET, 0.3)
    return y, dx


def cut(x):
    leaf = Tensor(x, requires_grad=True)
    y = patches(leaf, 2)
    return y.data, lambda dy: vjps(y, dy, leaf)[0]


def unit(x):
    leaf = Tensor(x, requires_grad=True)
    y = unit_length(leaf, 0.3)
    return y.data, lambda dy: vjps(y, dy, leaf)[0]


def pairs(x):
    nats, backward = contrast(x, GAIN, np.array(2.0), None)
    return nats, lambda dy: backward(dy)[0]


FUNCTIONS = {
    "E05": (softmax, (3, 4)),
    "E06": (cross_entropy, (2, 3, 4)),
    "E07": (layer_norm, (3, 4)),
    "E08": (cut, (1, 3, 4, 2)),
    "E13": (unit, (3, 4)),
    "E15": (pairs, (3, 4)),
}
VARIANTS = [(id, variant) for id in FUNCTIONS for variant in (None, *find(id).variants)]


def name(value):
    return value if isinstance(value, str) else value.name if value else "the library's"


@pytest.mark.parametrize(("id", "variant"), VARIANTS, ids=name)
def test_the_gradient_is_the_slope(id, variant):
    function, shape = FUNCTIONS[id]
    x = rng.standard_normal(shape)
    direction = rng.standard_normal(shape)
    with overlay.replaced(changed(find(id), variant) if variant else {}):
        y, backward = function(x)
        dy = np.asarray(rng.standard_normal(np.shape(y)))
        claimed = (backward(dy) * direction).sum()
        ahead, behind = function(x + 1e-6 * direction)[0], function(x - 1e-6 * direction)[0]
    assert claimed == pytest.approx(((ahead - behind) * dy).sum() / 2e-6, rel=1e-6, abs=1e-8)


def test_no_other_exercise_with_variants_has_a_gradient():
    others = {e.id for e in catalogue().values() if e.variants} - FUNCTIONS.keys()
    values = {"E10", "E12", "E14", "E16", "E17", "E19", "E22", "E27"}  # the tape derives these
    assert others <= values

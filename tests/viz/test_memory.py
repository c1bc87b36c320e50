import tracemalloc

import numpy as np
import pytest
from matplotlib.colors import to_hex

from minivlm.nn.layers import Linear
from minivlm.nn.module import freeze
from minivlm.ops.activations import gelu
from minivlm.tensor import Tensor, no_grad
from minivlm.viz.memory import WAYS, memory_mountains, watch_memory

B, D = 256, 128
ACTIVATIONS = 4 * B * D  # bytes of one layer's output


def layers(count=4):
    rng = np.random.default_rng(0)
    return [Linear(D, D, rng=rng) for _ in range(count)]


def step(model):
    x = Tensor(np.ones((B, D), np.float32))
    with watch_memory() as memory:
        for layer in model:
            x = gelu(layer(x))
        x.mean().backward()
        del x
    return memory


def test_each_op_is_noted_on_both_ways_under_its_name():
    moments = step(layers(2)).moments
    there = ["linear", "gelu", "linear", "gelu", "mean"]
    assert [moment.op for moment in moments] == [*there, *there[::-1], "end"]
    ways = ["forward"] * 5 + ["the way back"] * 5 + ["after"]
    assert [moment.way for moment in moments] == ways


def test_the_mountain_rises_by_what_is_kept_and_falls_to_the_gradients():
    model = layers()
    memory = step(model)
    forward = [moment.held for moment in memory.moments if moment.way == "forward"]
    for layer in range(4):  # a linear's output is kept by gelu, and gelu's by the next linear
        assert forward[2 * layer + 1] >= 2 * (layer + 1) * ACTIVATIONS
    gradients = sum(p.grad.nbytes for layer in model for p in layer.parameters())
    assert gradients <= memory.moments[-1].held < gradients + 100_000
    assert memory.peak >= 8 * ACTIVATIONS
    assert memory.steps() == 9


def test_layers_frozen_in_front_keep_nothing():
    model = layers()
    freeze(*model[:3])
    memory = step(model)
    assert memory.peak < 5 * ACTIVATIONS
    assert memory.steps() == 3


def test_without_gradients_nothing_piles_up():
    with no_grad(), watch_memory() as memory:
        x = Tensor(np.ones((B, D), np.float32))
        for layer in layers(6):
            x = layer(x)
    assert memory.peak < 4 * ACTIVATIONS + 6 * 4 * (D + 1) * D
    assert memory.steps() == 0


def test_the_accounting_is_switched_off_again():
    step(layers(1))
    assert not tracemalloc.is_tracing()


def test_the_picture_shows_each_moment_in_the_colour_of_its_way():
    memory = step(layers(2))
    figure = memory.draw()
    [axes] = figure.axes
    bars = axes.patches
    assert [bar.get_height() * 1e6 for bar in bars] == pytest.approx(
        [moment.held for moment in memory.moments]
    )
    assert [to_hex(bar.get_facecolor()).upper() for bar in bars] == [
        WAYS[moment.way] for moment in memory.moments
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        moment.op for moment in memory.moments
    ]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(WAYS)


def test_several_mountains_have_one_scale_and_their_titles():
    figure = memory_mountains({"small": step(layers(1)), "large": step(layers(3))})
    small, large = figure.axes
    assert (small.get_title(), large.get_title()) == ("small", "large")
    assert small.get_ylim() == large.get_ylim()


def test_no_ops_make_no_mountain():
    with watch_memory() as memory:
        pass
    with pytest.raises(ValueError, match="no op was seen"):
        memory.draw()

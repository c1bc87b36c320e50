"""C1 to C3: what they refuse, how much memory they hold, and that no barrier is idle."""

import re
import tracemalloc
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from minivlm_kernels.arrays import F32, poisoned_outputs
from minivlm_kernels.contrastive import c1_dense, c2_streaming, c3_streaming_backward
from minivlm_kernels.launch import launched_by
from tests.kernels.barriers import barriers, module_without
from tests.kernels.conftest import ON_GPU
from tests.kernels.oracles import double
from tests.kernels.pairs import (
    all_right,
    batch,
    calls,
    close,
    one,
    run,
    sigmoid_loss,
)

RUNGS = [c1_dense, c2_streaming, c3_streaming_backward]


@pytest.fixture(autouse=True, scope="module")
def _poisoned():
    with poisoned_outputs():
        yield


NOT_TAKEN = {
    "takes float32 arrays, and image is float64": {"image": np.ones((3, 2))},
    "takes float32 arrays, and text is float16": {"text": np.ones((3, 2), np.float16)},
    "takes contiguous arrays, and text (3, 2) has strides": {"text": np.ones((3, 4), F32)[:, ::2]},
    "image (3, 2) and text (4, 2) are not twice (N, E)": {"text": np.ones((4, 2), F32)},
    "image (2,) and text (3, 2) are not twice (N, E)": {"image": np.ones(2, F32)},
    "image (0, 2) and text (0, 2) are not twice": dict.fromkeys(
        ("image", "text"), np.ones((0, 2), F32)
    ),
    "scale has shape (), not (1,)": {"scale": np.ones((), F32)},
    "takes float32 arrays, and scale is float64": {"scale": np.ones(1)},
    "bias has shape (3,), not (1,)": {"bias": np.ones(3, F32)},
    "row_lse has shape (2,), not (3,)": {"lses": (np.ones(2, F32), np.ones(3, F32))},
    "takes float32 arrays, and col_lse is float64": {"lses": (np.ones(3, F32), np.ones(3))},
}


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("sentence", NOT_TAKEN)
def test_what_a_rung_does_not_take_is_told(rung, sentence):
    taken = {"image": np.ones((3, 2), F32), "text": np.ones((3, 2), F32), "scale": one(1)}
    taken |= {"bias": one(0), "lses": (np.ones(3, F32), np.ones(3, F32))}
    refused = NOT_TAKEN[sentence]
    wanted = {"bias": "sigmoid", "lses": "backward"}.get(next(iter(refused)), "ward")
    for function, inputs in calls(rung, **taken | refused):
        name = function.__name__
        if wanted in name and not (wanted == "backward" and "sigmoid" in name):
            with pytest.raises(ValueError, match=re.escape(sentence)) as refusal:
                run(function, *inputs)
            assert rung.RUNG in str(refusal.value)


def most_bytes(function, inputs, **options):
    """The most memory that a call holds at a time; its kernels are not run."""
    nothing = launched_by(lambda *launch: None)
    with nothing, np.errstate(all="ignore"):  # for sums of numbers that no one wrote
        tracemalloc.start()
        function(*inputs, **options)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def bytes_held(rung, N):
    """The most memory that each function of a rung holds at a time, by name."""
    image, text = batch(N, 8)
    inputs = image, text, one(1), one(0), (image[:, 0].copy(), text[:, 0].copy())
    held = {}
    for function, given in calls(rung, *inputs):
        few = {"blocks": 16} if function is c2_streaming.forward else {}
        held[function.__name__] = most_bytes(function, given, tile=4, **few)
    return held


def test_the_dense_rung_holds_as_many_bytes_a_pair_as_it_says():
    N = 512
    a_pair = {name: held / N**2 for name, held in bytes_held(c1_dense, N).items()}
    said = {"forward": 4, "backward": 16, "sigmoid_forward": 8, "sigmoid_backward": 8}
    assert a_pair == pytest.approx(said, rel=0.05)


@pytest.mark.parametrize("rung", RUNGS)
def test_only_the_dense_rung_holds_memory_that_grows_with_the_square(rung):
    small, large = bytes_held(rung, 256), bytes_held(rung, 1024)
    for name, held in large.items():
        growth = held / small[name]
        assert growth > 10 if rung is c1_dense else growth < 4.5


def test_the_streaming_forward_holds_as_many_bytes_a_row_as_it_says():
    held = bytes_held(c2_streaming, 1024)["forward"]
    assert held / 1024 == pytest.approx(8 * (16 + 4) + 12, rel=0.15)  # and some for the mean


def test_the_other_loss_is_what_the_dense_rung_says_in_numpy():
    _, after = c1_dense.__doc__.split("SigLIP's loss, in NumPy:\n")
    said, _ = after.split("\nCosts:")
    image, text = batch(5, 3)
    names = {"np": np, "image": double(image), "text": double(text), "scale": 20.0, "bias": -3.0}
    exec(dedent(said), names)
    for name, right in zip(
        ("nats", "d_image", "d_text", "d_log_scale", "d_bias"),
        sigmoid_loss(image, text, one(20), one(-3)),
        strict=True,
    ):
        assert close(names[name], right, 1e-12), name


BARRIERS = [
    pytest.param(Path(rung.__file__), line, id=f"{rung.RUNG}, line {line}")
    for rung in RUNGS
    for line in barriers(Path(rung.__file__))
]


@pytest.mark.skipif(ON_GPU, reason="a GPU may be lucky; the simulator's threads are not")
@pytest.mark.parametrize(("path", "line"), BARRIERS)
def test_every_barrier_is_needed(path, line):
    rung = module_without(path, line)
    given = *batch(7, 5), one(20), one(-3)
    assert not all(all_right(rung, *given, tile=2) for _ in range(5))


def test_with_its_barriers_each_rung_is_right():
    for rung in RUNGS:
        assert all_right(rung, *batch(7, 5), one(20), one(-3), tile=2)

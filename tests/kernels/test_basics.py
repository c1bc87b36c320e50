"""The first steps, B1 to B4: by Numba and by the stepper, held to NumPy in float64."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivlm_kernels import stepper
from minivlm_kernels.arrays import poisoned_outputs
from minivlm_kernels.basics import b1_map, b2_matmul, b3_tiled_matmul, b4_row_lse
from tests.kernels.barriers import barriers, module_without
from tests.kernels.conftest import ON_GPU
from tests.kernels.oracles import double, relative_error
from tests.kernels.places import back, normal, place

PRODUCTS = [b2_matmul, b3_tiled_matmul]
STEPS = [b1_map, *PRODUCTS, b4_row_lse]
WITH_BARRIERS = [b3_tiled_matmul, b4_row_lse]
BARRIERS = [(rung, line) for rung in WITH_BARRIERS for line in barriers(Path(rung.__file__))]
TILE = 3

every_step = pytest.mark.parametrize("rung", STEPS, ids=lambda rung: rung.RUNG)
products = pytest.mark.parametrize("rung", PRODUCTS, ids=lambda rung: rung.RUNG)
sizes = st.integers(1, 2 * TILE + 1)


@pytest.fixture(autouse=True, scope="module")
def _poisoned():
    with poisoned_outputs():
        yield


def run(rung, *inputs, **options):
    """What a step gives, on the host."""
    return back(rung.forward(*map(place, inputs), **{"tile": TILE, **options}))


def inputs_of(rung, M=7, K=5, N=8, seed=0) -> tuple[np.ndarray, ...]:
    """Small arrays of more than one tile, of which the last is not full."""
    rng = np.random.default_rng(seed)
    if rung.RUNG == b1_map.RUNG:
        return (normal(rng, M, K),)
    if rung.RUNG == b4_row_lse.RUNG:
        return normal(rng, M, K), normal(rng, N, K), np.array([3], np.float32)
    return normal(rng, M, K), normal(rng, K, N)


def right(rung, *inputs):
    """In float64."""
    first, *others = map(double, inputs)
    if rung.RUNG == b1_map.RUNG:
        return first / (1 + np.exp(-1.702 * first))
    if rung.RUNG == b4_row_lse.RUNG:
        text, scale = others
        return np.logaddexp.reduce(scale * first @ text.T, axis=1)
    return first @ others[0]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=3), st.sampled_from([0.1, 1.0, 30.0]))
@settings(max_examples=25)
def test_the_map_is_right_for_arrays_of_any_shape(shape, amplitude):
    x = normal(np.random.default_rng(0), *shape, amplitude=amplitude)
    y = run(b1_map, x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, right(b1_map, x), rtol=3e-5, atol=1e-30)


def test_the_map_overflows_nowhere():
    x = np.array([-1e30, -1e3, -88, 0, 88, 1e3, 1e30], np.float32)
    y = run(b1_map, x)
    np.testing.assert_array_equal(y[[0, 1, 3]], 0)
    np.testing.assert_array_equal(y[4:], x[4:])


@products
@given(sizes, sizes, sizes)
@settings(max_examples=20)
def test_a_product_is_right_for_sizes_around_the_tile(rung, M, K, N):
    a, b = inputs_of(rung, M, K, N)
    out = run(rung, a, b)
    assert out.dtype == np.float32
    scale = np.abs(double(a)) @ np.abs(double(b))
    assert np.all(np.abs(out - right(rung, a, b)) <= 1e-6 * scale)


@given(sizes, sizes, sizes, st.sampled_from([0.0, 1.0, 20.0]))
@settings(max_examples=20)
def test_a_rows_log_sum_exp_is_right_for_sizes_around_the_tile(N, E, M, scale):
    image, text, _ = inputs_of(b4_row_lse, N, E, M)
    given_scale = np.array([scale], np.float32)
    lse = run(b4_row_lse, image, text, given_scale)
    assert lse.dtype == np.float32
    expected = right(b4_row_lse, image, text, given_scale)
    np.testing.assert_allclose(lse, expected, rtol=2e-6, atol=1e-6 * (1 + 20 * scale))


@pytest.mark.parametrize("scale", [1e3, 1e12])
def test_a_rows_log_sum_exp_does_not_overflow(scale):
    """Logits of both signs, far beyond what exp can take."""
    image, text, _ = inputs_of(b4_row_lse)
    given_scale = np.array([scale], np.float32)
    lse = run(b4_row_lse, image, text, given_scale)
    assert relative_error(lse, right(b4_row_lse, image, text, given_scale)) < 1e-6
    lse = run(b4_row_lse, np.abs(image), -np.abs(text), given_scale)
    assert relative_error(lse, right(b4_row_lse, np.abs(image), -np.abs(text), given_scale)) < 1e-6


@every_step
def test_the_tiles_of_a_gpu_are_the_default(rung):
    inputs = inputs_of(rung, 2, 3, 2)
    default = back(rung.forward(*map(place, inputs)))
    assert relative_error(default, right(rung, *inputs)) < 1e-6


@every_step
@pytest.mark.parametrize("backwards", [False, True])
def test_the_stepper_finds_nothing_and_the_same_numbers_as_the_simulator(rung, backwards):
    inputs = inputs_of(rung)
    with stepper.watch(backwards=backwards):
        stepped = rung.forward(*inputs, tile=TILE)
    assert relative_error(stepped, right(rung, *inputs)) < 1e-6
    if not ON_GPU:
        np.testing.assert_array_equal(stepped, run(rung, *inputs))


def test_every_step_is_here():
    folder = Path(b1_map.__file__).parent
    assert {str(path) for path in folder.glob("[a-z][0-9]_*.py")} == {r.__file__ for r in STEPS}
    assert all(barriers(Path(rung.__file__)) == [] for rung in STEPS if rung not in WITH_BARRIERS)
    assert len(BARRIERS) == 5


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("rung", "line"), BARRIERS, ids=[f"{rung.RUNG} {line}" for rung, line in BARRIERS]
)
def test_without_one_barrier_there_is_a_race(rung, line, backwards):
    less = module_without(Path(rung.__file__), line)
    with (
        pytest.raises(stepper.Race, match="there is no barrier between"),
        stepper.watch(backwards=backwards),
    ):
        less.forward(*inputs_of(rung), tile=TILE)


def test_a_tile_is_read_once_by_its_block():
    a, b = inputs_of(b3_tiled_matmul, 6, 6, 6)
    with stepper.watch() as log:
        b2_matmul.forward(a, b, tile=TILE)
        b3_tiled_matmul.forward(a, b, tile=TILE)
    each, tiled = (launch.reads() for launch in log.launches)
    assert each == TILE * tiled == 2 * 6**3


REFUSALS = [
    (b1_map, lambda x: (x.astype(np.float64),), "B1 map takes float32 arrays, and x is float64"),
    (b1_map, lambda x: (x.T,), "takes contiguous arrays, and x"),
    (b2_matmul, lambda a, b: (a, b[1:]), r"a \(7, 5\) and b \(4, 8\) are not \(M, K\)"),
    (b3_tiled_matmul, lambda a, b: (a[0], b), r"a \(5,\) and b \(5, 8\) are not"),
    (b3_tiled_matmul, lambda a, b: (a[:0], b), r"a \(0, 5\) and b \(5, 8\) are not"),
    (b4_row_lse, lambda i, t, s: (i, t[:, 1:].copy(), s), r"and text \(8, 4\) are not \(N, E\)"),
    (b4_row_lse, lambda i, t, s: (i, t[0], s), r"text \(5,\) are not \(N, E\) and \(M, E\)"),
    (b4_row_lse, lambda i, t, s: (i, t[:0], s), r"text \(0, 5\) are not"),
    (b4_row_lse, lambda i, t, s: (i, t, s[:0]), r"scale has shape \(0,\), not \(1,\)"),
]


@pytest.mark.parametrize(("rung", "change", "sentence"), REFUSALS)
def test_what_a_step_does_not_take_is_refused_in_a_sentence(rung, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        rung.forward(*map(place, change(*inputs_of(rung))))

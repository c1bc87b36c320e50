"""What the course's exercises learn of a kernel that ran."""

import numpy as np

from minivlm.course import kernels
from minivlm_kernels import stepper
from minivlm_kernels.basics import b1_map, b2_matmul, b3_tiled_matmul
from tests.kernels.conftest import ON_GPU
from tests.kernels.test_basics import inputs_of, right


def test_reads_are_counted_by_the_number_of_an_argument():
    a, b = inputs_of(b3_tiled_matmul, 4, 6, 2)
    ran = kernels.run(b3_tiled_matmul.forward, a, b, tile=2)
    np.testing.assert_allclose(ran.results[0], right(b3_tiled_matmul, a, b), rtol=1e-5, atol=1e-6)
    assert (ran.reads(0), ran.reads(1)) == (a.size, 2 * b.size)


def test_the_busiest_thread_is_found():
    x, y = np.ones((2, 6), np.float32)

    def one_does_it_all(x, y):
        for i in range(6):
            y[i] = x[i]

    ran = kernels.run(b1_map.forward, x, tile=4, events=True)
    assert ran.most_written(1) == 1
    ran = kernels.Ran((), stepper.step(one_does_it_all, 1, 1, x, y, events=True))
    assert ran.most_written(1) == 6
    assert ran.most_written(0) == 0


def test_what_was_stepped_through_runs_on_the_device_too_if_asked(monkeypatch):
    placed = []
    if not ON_GPU:  # the simulator stands for one

        def stays(x, device):
            placed.append(device)
            return x

        monkeypatch.setattr(kernels, "to_device", stays)
    a, b = inputs_of(b2_matmul)
    kernels.use("cuda")
    try:
        ran = kernels.run(b2_matmul.forward, a, b, tile=4, rows=2)
    finally:
        kernels.use("cpu")
    assert placed == ([] if ON_GPU else ["cuda", "cuda"])
    assert isinstance(ran.results[0], np.ndarray)
    np.testing.assert_allclose(ran.results[0], right(b2_matmul, a, b), rtol=1e-5, atol=1e-6)
    assert len(ran.log.launches) == 1
    placed.clear()
    kernels.run(b2_matmul.forward, a, b)
    assert placed == []

"""Copies to shared memory, now and in the background, and loads of matrices from there."""

import numpy as np
import pytest

from minivlm_kernels.cuda.cpu import schedule
from tests.kernels.faults import floats, i32, needs_gplusplus, place, run, sentence

pytestmark = needs_gplusplus


@pytest.mark.parametrize(
    ("name", "at", "words"),
    [
        ("copies_from_to", (0, 1), "gives byte 4 of dynamic shared memory, which is no multiple"),
        ("copies_from_to", (2, 0), "gives byte 8 of x, argument 0, which is no multiple of 16"),
        ("copies_from_to", (0, 4), "out of bounds: copy16"),
        ("copies_from_to", (8, 0), "gives byte 32 of x, argument 0, which has 32 bytes"),
        ("copies_in_background_from_to", (0, 1), "gives byte 4 of dynamic shared memory"),
        ("copies_in_background_from_to", (8, 0), "out of bounds: cp_async16"),
    ],
)
def test_a_copy_takes_16_aligned_bytes_from_an_array(name, at, words):
    y = (floats(1),) if name == "copies_from_to" else ()
    assert words in sentence(name, floats(8), *i32(*at), *y)
    run(name, floats(8), *i32(4, 0), *y)


def test_a_copy_that_reads_nothing_may_come_from_nowhere():
    y = floats(1)
    run("copies_nothing_from", floats(8), *i32(8), y, threads=1)
    assert y[0] == 0


def test_copies_and_matrix_loads_know_the_kind_of_memory():
    x = np.zeros(128, np.uint32)
    words = "copy16 (faults.cu:{}): thread 0 gives an address that is not in shared memory"
    line = place("copies_to_global", "copy16").split(":")[1]
    assert sentence("copies_to_global", floats(4), floats(4)) == words.format(line)
    assert "not in shared memory" in sentence("loads_global_matrices", x, x.copy())


@pytest.mark.parametrize(("at", "words"), [(1, "misaligned"), (32, "out of bounds")])
def test_rows_of_matrices_are_16_aligned_bytes(at, words):
    y = np.zeros(32, np.uint32)
    assert words in sentence("loads_matrices_at", y, *i32(at), shared=128)
    run("loads_matrices_at", y, *i32(28), shared=128)


@pytest.mark.parametrize(("waits", "arrived"), [(0, 0), (1, 4), (2, 8)])
def test_a_copy_is_there_after_its_wait_and_not_before(waits, arrived):
    x, y = np.arange(8, dtype=np.float32), floats(8, 9)
    run("copies", x, y, *i32(waits), threads=1, shared=32)
    expected = [0, 1, 2, 3, 0, 0, 0, 0]  # the second copy is outside: zeros
    np.testing.assert_array_equal(y[:arrived], expected[:arrived])
    assert np.isnan(y[arrived:]).all()


def test_a_copy_arrives_late_or_at_once_or_by_chance():
    def arrived(order):
        y = floats(8)
        with schedule(order):
            run("copies", floats(8, 1), y, *i32(0), threads=1, shared=32)
        return (*~np.isnan(y[::4]),)

    assert arrived(0) == (False, False)
    assert arrived(1) == (True, True)
    assert len({arrived(order) for order in range(2, 40)}) == 4


@pytest.mark.parametrize(("order", "left"), [(0, 1), (1, 5)])
def test_a_copy_arrives_once(order, left):
    y = floats(1)
    with schedule(order):
        run("writes_where_a_copy_goes", floats(4, 1), y, threads=1)
    assert y[0] == left


def test_a_copy_may_also_come_too_early():
    x, late, early = np.zeros(4, np.float32), floats(64), floats(64)
    run("overwrites_what_is_read", x, late, threads=64, shared=256)
    with schedule(1):
        run("overwrites_what_is_read", x, early, threads=64, shared=256)
    np.testing.assert_array_equal(late[:32], 7)
    np.testing.assert_array_equal(early[:32], 0)


@pytest.mark.parametrize("order", [0, 1])
def test_a_copy_that_no_one_waited_for_is_told(order):
    line = place("forgets_to_wait", "cp_async16")
    with schedule(order):
        assert sentence("forgets_to_wait", floats(4)) == (
            f"thread 0 has returned, and never waited for the copy that it began at {line}"
        )


def test_more_copies_than_the_executor_holds_are_told():
    run("copies_much", floats(4), *i32(512), threads=1)
    words = "thread 0 has more than 512 copies on their way"
    assert words in sentence("copies_much", floats(4), *i32(513), threads=1)

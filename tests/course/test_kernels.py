"""Kernels are exercises, too: stepped through, in a process that a graded file cannot leave."""

import pytest

from minivlm.course import check
from minivlm.course.record import catalogue, find
from minivlm.course.solved import solve

KERNELS = [exercise for exercise in catalogue().values() if exercise.kernel]
TILES = find("E25")


def graded(folder, exercise):
    return check.grade(exercise, folder.file(exercise), seed=1, variant=None)


@pytest.mark.parametrize("exercise", KERNELS, ids=lambda exercise: exercise.id)
def test_a_kernel_passes_where_nothing_but_its_file_may_be_read(folder, exercise):
    solve(folder, exercise)
    assert graded(folder, exercise).passed


def test_a_missing_barrier_is_a_race_with_its_lines_and_has_a_name(folder):
    mistake = next(m for m in TILES.mistakes if m.name == "second barrier missing")
    solve(folder, TILES, mistake.edits)
    found = check.check(folder, TILES)
    assert found.mistake is mistake
    said = check.summary(found)
    assert "Race: thread (0, 0, 0) writes left[0, 0] in line" in said
    assert "left[y, x] = a[i, k + x]" in said


def test_a_stub_is_not_written_and_a_kernel_that_never_ends_is_stopped(folder):
    assert check.check(folder, TILES).unwritten
    barrier = "            cuda.syncthreads()  # both squares are there\n"
    forever = "            while True:\n                cuda.syncthreads()\n"
    solve(folder, TILES, ((barrier, forever),))
    asked = check.Asked(TILES, folder.file(TILES), seed=1, seconds=2)
    found = check.verdict(TILES, asked, 1, None)
    assert "does a loop never end?" in check.summary(found)


def test_a_kernel_reads_no_file_of_the_library(folder):
    begins = "        left = cuda.shared.array((tile, tile), float32)  # of a\n"
    reads = "        import minivlm_kernels.contrastive.c1_dense\n"
    solve(folder, TILES, ((begins, reads + begins),))
    assert "which no solution needs" in check.summary(graded(folder, TILES))

"""The barriers of rungs A2 to A4: each is needed, and none is met for tiles that are hidden."""

import warnings
from pathlib import Path

import pytest

from minivlm_kernels.attention import a2_tiled, a3_flash, a4_flash_backward
from tests.kernels import oracles
from tests.kernels.barriers import barriers, module_without
from tests.kernels.conftest import ON_GPU
from tests.kernels.numba_attention import RUNGS, backward, every_rung, forward, some

BARRIERS = [(Path(rung.__file__), line) for rung in RUNGS for line in barriers(Path(rung.__file__))]


def is_right(module):
    q, k, v, do = some(T=9, S=10, C=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what was read before it was written may be anything
        if hasattr(module, "backward"):
            got = backward(module, q, k, v, do, causal=True)
            right = oracles.attention_gradients(q, k, v, do, None, True)
        else:
            got = forward(module, q, k, v, causal=True)
            right = oracles.attention(q, k, v, None, True)
    return all(oracles.relative_error(x, y) < 1e-4 for x, y in zip(got, right, strict=True))


@every_rung
def test_with_all_barriers_a_rung_is_right(rung):
    assert all(is_right(rung) for _ in range(3))


if not ON_GPU:  # where a race may be won each time, and no one counts

    @pytest.mark.parametrize("rung", [a2_tiled, a3_flash, a4_flash_backward])
    def test_tiles_that_causality_hides_are_skipped(rung, monkeypatch):
        from numba.cuda.simulator.kernel import BlockThread

        waits = []
        wait = BlockThread.syncthreads
        monkeypatch.setattr(BlockThread, "syncthreads", lambda self: waits.append(1) or wait(self))
        q, k, v, do = some(H=1, T=8, S=8)
        o, lse = a3_flash.forward(q, k, v, tile=4)
        counts = []
        for causal in (False, True):
            waits.clear()
            if rung is a4_flash_backward:
                rung.backward(q, k, v, o, lse, do, None, causal, tile=4)
            else:
                rung.forward(q, k, v, None, causal, tile=4)
            counts.append(len(waits))
        if rung is a2_tiled:  # all but the softmax's two waits of each of 2·16 threads
            counts = [count - 2 * 2 * 16 for count in counts]
        assert counts[1] == counts[0] * 3 // 4  # of two by two tiles, one is hidden

    @pytest.mark.parametrize(
        ("path", "line"), BARRIERS, ids=[f"{path.name}:{line}" for path, line in BARRIERS]
    )
    def test_without_any_one_barrier_a_rung_is_wrong(path, line):
        module = module_without(path, line)
        assert not all(is_right(module) for _ in range(6))

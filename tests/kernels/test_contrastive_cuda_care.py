"""C4 and C5: what they refuse, hold and do, counted; and no barrier or wait in them is idle."""

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest

from minivlm_kernels import arrays
from minivlm_kernels.arrays import BF16, F32, poisoned_outputs
from minivlm_kernels.contrastive import cuda
from minivlm_kernels.cuda.cpu import KernelError, counted, schedule
from minivlm_kernels.cuda.load import load
from tests.kernels.pairs import all_close, batch, one, right_lses, run

FOLDER = cuda.C4.parent


@pytest.fixture(autouse=True)
def _poisoned():
    with poisoned_outputs():
        yield


def rounded(N, E, seed=0):
    return [x.astype(BF16) for x in batch(N, E, seed)]


def ones(*shape, dtype=BF16):
    return np.ones(shape, dtype)


# ---- Refusals

NOT_TAKEN = {
    "takes bfloat16 arrays, and image is float32": {"image": ones(3, 8, dtype=F32)},
    "takes bfloat16 arrays, and text is float32": {"text": ones(3, 8, dtype=F32)},
    "takes contiguous arrays, and text (3, 8) has strides": {"text": ones(3, 16)[:, ::2]},
    "image (3, 8) and text (4, 8) are not twice (N, E)": {"text": ones(4, 8)},
    "image (8,) and text (3, 8) are not twice (N, E)": {"image": ones(8)},
    "scale has shape (), not (1,)": {"scale": ones(dtype=F32)},
    "takes float32 arrays, and scale is float64": {"scale": np.ones(1)},
    "bias has shape (3,), not (1,)": {"bias": ones(3, dtype=F32)},
    "row_lse has shape (2,), not (3,)": {"row_lse": ones(2, dtype=F32)},
    "takes float32 arrays, and col_lse is float64": {"col_lse": np.ones(3)},
    "a strip of 0 images has no gradient": {"chunk": 0},
    "the workspace has shape (3, 3), not (3, 8)": {"workspace": ones(3, 3)},
    "takes bfloat16 arrays, and workspace is float32": {"workspace": ones(3, 8, dtype=F32)},
}
FUNCTIONS = {
    cuda.forward: ("image", "text", "scale"),
    cuda.backward: ("image", "text", "scale", "row_lse", "col_lse", "chunk", "workspace"),
    cuda.sigmoid_forward: ("image", "text", "scale", "bias"),
    cuda.sigmoid_backward: ("image", "text", "scale", "bias", "chunk", "workspace"),
}


@pytest.mark.parametrize("sentence", NOT_TAKEN)
def test_what_the_rungs_do_not_take_is_told(sentence):
    taken = {"image": ones(3, 8), "text": ones(3, 8), "scale": one(1), "bias": one(0)}
    taken |= {"row_lse": ones(3, dtype=F32), "col_lse": ones(3, dtype=F32)}
    taken |= {"chunk": 1024, "workspace": None}
    refused = NOT_TAKEN[sentence]
    asked = [f for f, names in FUNCTIONS.items() if next(iter(refused)) in names]
    assert asked
    for function in asked:
        given = {name: (taken | refused)[name] for name in FUNCTIONS[function]}
        with pytest.raises(ValueError, match=rf"^C[45] .*{re.escape(sentence)}"):
            function(**given)


# ---- Memory


@pytest.mark.parametrize(("N", "E", "blocks", "chunk"), [(300, 40, 3, 128), (90, 20, 1, 1024)])
def test_what_is_held_is_what_was_told(monkeypatch, N, E, blocks, chunk):
    image, text = rounded(N, E)
    held = image.nbytes + text.nbytes
    held += 2 * N * 24 * 2 if E == 20 else 0  # copies, with rows of 48 bytes
    make = arrays.output

    def noticed(shape, dtype, like):
        nonlocal held
        held += (made := make(shape, dtype, like)).nbytes
        return made

    monkeypatch.setattr(arrays, "output", noticed)
    _, *lses = cuda.forward(image, text, one(9), blocks=blocks)
    cuda.backward(image, text, one(9), *lses, blocks=blocks, chunk=chunk)
    assert held == cuda.peak_bytes(N, E, blocks, chunk)


@pytest.mark.parametrize("N", [65_536, 1_048_576, 4_194_304])
def test_memory_is_linear(N):
    assert cuda.peak_bytes(N, 512, blocks=132) / N < 9.3e3


def test_a_workspace_serves_again_whatever_it_holds():
    image, text = rounded(150, 16)
    lses = right_lses(image, text, one(9))
    workspace = np.full(cuda.workspace_shape(150, 64), np.nan, BF16)
    first = run(cuda.backward, image, text, one(9), *lses, chunk=64)
    for _ in range(2):
        other = cuda.backward(image, text, one(9), *lses, chunk=64, workspace=workspace)
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


# ---- Operations


def test_a_loss_and_its_gradients_are_eight_operations_for_each_pair_and_number(monkeypatch):
    N, E = 512, 64
    image, text = rounded(N, E)
    products = []
    multiply = cuda.multiply

    def noticed(a, b, out, **how):
        products.append(a.size * b.shape[1])
        multiply(a, b, out, **how)

    monkeypatch.setattr(cuda, "multiply", noticed)
    with counted() as ahead:
        _, *lses = cuda.forward(image, text, one(9), blocks=2)
    with counted() as back:
        cuda.backward(image, text, one(9), *lses, blocks=2, chunk=256)
    forward, slopes = ahead.tensor_multiply_adds, back.tensor_multiply_adds
    assert 2 * forward == 2 * slopes == 2 * N * N * E
    assert 2 * sum(products) == 4 * N * N * E
    assert 2 * (forward + slopes + sum(products)) == 8 * N * N * E

    assert 2 * N * N <= ahead.exponentials <= 2.25 * N * N
    assert back.exponentials == 2 * N * N
    tiles, slices = N // 128 * (N // 256), E // 32
    beyond = 2 * 2  # slices past the end, which two blocks fetch two of
    assert ahead.bytes_to_shared == (tiles * slices + beyond) * (128 + 256) * 32 * 2
    assert back.bytes_put == 2 * N * N + 2 * 2 * 4  # slopes, and two blocks' sums of two strips


@pytest.mark.parametrize("E", [32, 72])
def test_no_matrix_load_waits_for_a_bank(E):
    image, text = rounded(130, E)
    lses = right_lses(image, text, one(9))
    for function, inputs in (
        (cuda.forward, (image, text, one(9))),
        (cuda.backward, (image, text, one(9), *lses)),
    ):
        with counted() as counts:
            function(*inputs)
        assert counts.conflict_degree == 1


def test_sizes_are_those_of_the_kernels():
    text = (FOLDER / "score_tile.cuh").read_text("utf-8")
    sizes = {}
    for name, value in re.findall(r"^constexpr int (\w+) = ([^;]+);", text, re.MULTILINE):
        sizes[name] = eval(value.replace("/", "//"), {}, sizes)
    ours = {"IMAGES": cuda.IMAGES, "TEXTS": cuda.TEXTS, "THREADS": cuda.THREADS}
    ours["CHUNK"] = cuda.CHUNK
    assert ours == {name: sizes[name] for name in ours}
    assert sizes["STAGES"] * sizes["STAGE"] * BF16.itemsize == cuda.STAGES
    assert cuda.STAGES + cuda.SUMS <= 99 * 1024  # what a block may have from Ampere on


# ---- Barriers and waits

WAITS = re.compile(r"(?:__syncthreads\(\)|cp_async_wait<[^>]*>\(\));")
SWITCH = 'extern "C" __attribute__((visibility("default"))) int removed = -1;\n'


class Switched:
    """Copies of the kernels whose barriers and waits can be switched off, one at a time."""

    def __init__(self, folder: Path):
        self.places = []  # the file of each
        for path in sorted([*FOLDER.glob("*.cu"), *FOLDER.glob("*.cuh")]):
            self.file = path.name
            text = WAITS.sub(self._switch, path.read_text("utf-8"))
            (folder / path.name).write_text('#include "switch.h"\n' + text, "utf-8")
        (folder / "switch.h").write_text("#pragma once\n" + SWITCH)

    def _switch(self, wait):
        self.places.append(self.file)
        return f"if (removed != {len(self.places) - 1}) {wait.group()}"

    def of(self, source):
        """Those that the kernels of a file come across."""
        names = source.name, "score_tile.cuh"
        return [k for k, name in enumerate(self.places) if name in names]


def test_each_barrier_and_each_wait_is_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    switched = Switched(tmp_path)
    monkeypatch.setattr(cuda, "C4", tmp_path / cuda.C4.name)
    monkeypatch.setattr(cuda, "C5", tmp_path / cuda.C5.name)
    image, text = rounded(300, 72)
    lses = right_lses(image, text, one(9))
    ahead = (cuda.forward, (one(9),)), (cuda.sigmoid_forward, (one(9), one(-3)))
    back = (cuda.backward, (one(9), *lses)), (cuda.sigmoid_backward, (one(9), one(-3)))

    def results(calls):
        return [x for f, inputs in calls for x in run(f, image, text, *inputs, blocks=2)]

    for source, calls in ((cuda.C4, ahead), (cuda.C5, back)):
        right = results(calls)
        library = load(source, image)._library(counting=False)
        removed = ctypes.c_int.in_dll(library, "removed")

        def is_right(order, calls=calls, right=right):
            try:
                with schedule(order), np.errstate(all="ignore"):
                    return all_close(results(calls), right, 1e-5, (0,) * len(right))
            except KernelError:
                return False

        assert all(map(is_right, (0, 1, 7)))
        assert len(switched.of(source)) >= 4
        for k in switched.of(source):
            removed.value = k
            assert not all(map(is_right, (0, 1, 7))), f"{source.name}: {k} in {switched.places[k]}"
        removed.value = -1

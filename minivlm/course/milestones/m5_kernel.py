"""M5: the model of M4 answers again, and all of its attention runs through a GPU's kernel.

The kernel is rung A3, flash attention, written for thousands of threads. Here they are stepped
through one by one, without a GPU, and races, divergent barriers and wrong indices would be named.
Nothing but the seam `attend` knows that another one computes: eye and language model are the same,
and so should be the answers.

Source: Dao et al. 2022, arXiv:2205.14135.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from minivlm.course.milestones import m4_llava
from minivlm.course.milestones.talker import LAYERS, SPECIALS, Talker, question
from minivlm.errors import InputError
from minivlm.ops.attention import attend
from minivlm.tensor import Array, Vjp
from minivlm.viz.style import save_figure
from minivlm.viz.tiles import Step, draw_tiles, online_softmax

TITLE = "The same model through your kernel"
AFTER = "E"

TILE = 5  # queries of a block, and keys of a tile
CHANNELS = 2  # of a value's 16 that are drawn
BLOCK = 1  # of the language model, from 0, whose attention is drawn
BOUND = 1e-4  # of what float32 results may differ by


@dataclass(frozen=True)
class Call:
    """One attention that the kernel has computed; see `a3_flash.forward`.

    Attributes:
        q: queries (B, H, T, C).
        k: keys (B, H, S, C).
        v: values (B, H, S, C).
        causal: no query looked ahead of itself.
        o: outputs (B, H, T, C).
        lse: log-sum-exps (B, H, T).
        error: the largest difference between o and what NumPy gives.
        threads: how many there were.
        reads: of numbers in global memory.
    """

    q: Array
    k: Array
    v: Array
    causal: bool
    o: Array
    lse: Array
    error: float
    threads: int
    reads: int


def run(
    pictures: Path, say: Callable[[str], None], rng: np.random.Generator, count: int = 2
) -> bool:
    """Let M4's model answer by NumPy and by the kernel; see `Milestone.run`."""
    talker = _talker(pictures, say, rng)
    if talker is None:
        return False
    scenes, images = m4_llava.two_things(count, rng)
    shapes = [[thing.shape for thing in scene.things] for scene in scenes]
    expected = [_asked(talker, image, about) for image, about in zip(images, shapes, strict=True)]

    say("Each thread of the kernel is stepped through, first for the eye, then for every word.")
    calls: list[Call] = []
    answers = []
    with through_kernel(calls):
        for image, about in zip(images, shapes, strict=True):
            answers.append(_asked(talker, image, about))
            for shape, word in zip(about, answers[-1], strict=True):
                say(f"  {question(shape)} {word}")
    threads, reads = (sum(getattr(call, what) for call in calls) for what in ("threads", "reads"))
    say(f"{len(calls)} launches, {threads:,} threads, {reads:,} numbers read; no race was seen.")

    T = len(talker.prompt(shapes[0][0]))
    questions = [call for call in calls if call.q.shape[2] == T][BLOCK::LAYERS]
    errors = {
        "outputs": float(np.max([call.error for call in calls])),
        "gradients": _error_of_gradients(questions[0], rng),
        "the tiles drawn": _draw(questions, talker, shapes, pictures),
    }
    told = ", ".join(f"{what} {error:.0e}" for what, error in errors.items())
    say(f"Largest differences from NumPy's: {told}; allowed are {BOUND:.0e}.")
    alike = answers == expected
    say(f"The answers are {'the same' if alike else 'not the same'} as by NumPy.")
    return alike and all(error <= BOUND for error in errors.values())


@contextmanager
def through_kernel(calls: list[Call]) -> Iterator[None]:
    """Inside this block all attention is computed by rung A3, in the stepper.

    Args:
        calls: to which each is added.
    """
    from minivlm_kernels import stepper  # which needs Numba, as only this milestone does
    from minivlm_kernels.arrays import poisoned_outputs
    from minivlm_kernels.attention import a3_flash

    by_numpy = attend.dispatch(object)

    def attend_by_kernel(
        Q: Array, K: Array, V: Array, mask: Array | None = None, causal: bool = False
    ) -> tuple[Array, Vjp]:
        q, k, v = (np.ascontiguousarray(x) for x in (Q, K, V))
        with poisoned_outputs(), stepper.watch() as log:
            o, lse = a3_flash.forward(q, k, v, mask, causal, tile=TILE)
        expected, backward = by_numpy(Q, K, V, mask, causal)
        (launch,) = log.launches
        threads = launch.grid.x * launch.grid.y * launch.block.x
        error = float(np.abs(o - expected).max())
        calls.append(Call(q, k, v, causal, o, lse, error, threads, launch.reads()))
        return o, backward

    attend.register(np.ndarray, attend_by_kernel)
    try:
        yield
    finally:
        attend.register(np.ndarray, by_numpy)


def _talker(pictures: Path, say: Callable[[str], None], rng: np.random.Generator) -> Talker | None:
    """The model that M4 trained; where it did not, it is trained now."""
    path = m4_llava.weights_for(pictures)
    try:
        talker = Talker.load(path)
    except InputError:
        say("M4 has left no model that fits, so one is trained first.")
        return m4_llava.trained(say, rng)
    say(f"The model that M4 has trained, {talker.model.size():,} numbers.")
    return talker


def _asked(talker: Talker, image: np.ndarray, shapes: list[str]) -> list[str]:
    """What colour it says that each of some shapes in one picture has."""
    return talker.answers(talker.look(image[None]).repeat(len(shapes), 0), shapes)


def _error_of_gradients(call: Call, rng: np.random.Generator) -> float:
    """How far the way back, rung A4, is from NumPy's, for what the kernel has left for it."""
    from minivlm_kernels import stepper
    from minivlm_kernels.attention import a4_flash_backward

    q, k, v, o, lse = (x[:1] for x in (call.q, call.k, call.v, call.o, call.lse))
    do = rng.standard_normal(o.shape, np.float32)
    _, backward = attend(q, k, v, None, call.causal)
    with stepper.watch():
        got = a4_flash_backward.backward(q, k, v, o, lse, do, causal=call.causal, tile=TILE)
    pairs = zip(got, backward(do), strict=True)
    return float(np.max([np.abs(mine - right).max() for mine, right in pairs]))


def _draw(questions: list[Call], talker: Talker, shapes: list[list[str]], pictures: Path) -> float:
    """Draw how the kernel walks along the tokens, for an answer that looks at the picture.

    Args:
        questions: one for each picture, with a row of the batch for each shape in it.
        talker: has words for the tokens.
        shapes: that were asked about in each picture.
        pictures: the folder.

    Returns:
        How far the last step is from what the kernel gave.
    """
    soft = talker.prompt(shapes[0][0]) == talker.model.config.image_token
    walks = []
    for call, about in zip(questions, shapes, strict=True):
        for b, h in np.ndindex(call.q.shape[:2]):
            q, k, v = (x[b, h].astype(np.float64) for x in (call.q[:, :, -1:], call.k, call.v))
            seen = bool(soft[(k @ q[0]).argmax()])
            walks.append((seen, online_softmax(q, k, v, TILE), call.o[b, h, -1], about[b]))
    _, steps, o, shape = max(walks, key=lambda walk: (walk[0], _records(walk[1])))
    shown = [replace(step, row=step.row[:, :CHANNELS]) for step in steps]
    figure = draw_tiles(shown, ["answer"], _names(talker, shape))
    figure.suptitle(
        f"{question(shape)} One head of block {BLOCK + 1} looks along the tokens, {TILE} at a time"
    )
    save_figure(figure, pictures / "M5.png")
    return float(np.abs(steps[-1].mean - o).max())


def _records(steps: Sequence[Step]) -> int:
    """In how many tiles there was a new largest score."""
    return len({float(step.top[0]) for step in steps})


def _names(talker: Talker, shape: str) -> list[str]:
    """Of a question's tokens, the soft words by the number of their part of the picture."""
    names, part = [], 0
    for token in talker.prompt(shape).tolist():
        if token == talker.model.config.image_token:
            part += 1
            names.append(f"part {part}")
        elif token < len(SPECIALS):
            names.append(f"<{SPECIALS[token][1]}>")
        else:
            names.append(talker.tokenizer.decode([token]).strip() or "↵")
    return names

"""`minivlm bench train-clip`: a training step of ours against the same step in PyTorch eager.

Machines are shared and noisy, so only ratios are worth printing: both models start from the same
weights, take the same batches in turn in one process, and medians are compared. Peak memory is
measured in a process of its own for each.
"""

import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from minivlm.errors import InputError
from minivlm.memory import keep_freed_memory, peak_memory, resident_memory
from minivlm.models.clip import CLIP, CLIPConfig
from minivlm.models.text import TextConfig
from minivlm.models.vit import ViTConfig
from minivlm.tensor import Array
from minivlm.train.optim import AdamW

TINY = CLIPConfig(
    vision=ViTConfig(image=32, patch=4, width=64, heads=4, layers=4),
    text=TextConfig(vocabulary=1000, context=24, width=64, heads=4, layers=4, end=2),
    embed=64,
)
BATCH = 128
Step = Callable[[Array, Array], float]  # pixels, ids -> loss; updates the weights


def bench_train_clip(repeats: int = 15) -> dict:
    """Measure both, one thread each, in fresh processes.

    Returns:
        Medians of seconds a step, peak bytes above what was resident before the model was made,
        peak bytes of the whole process, and the largest difference of losses.

    Raises:
        InputError: PyTorch is not installed.
    """
    timing = in_child(__name__, "time", repeats)
    ours, torchs = (in_child(__name__, who, repeats) for who in ("ours", "torch"))
    return timing | {
        "peak_growth": {"minivlm": ours["growth"], "torch": torchs["growth"]},
        "peak_process": {"minivlm": ours["peak"], "torch": torchs["peak"]},
    }


def report(result: dict) -> str:
    """The figures of `bench_train_clip` side by side, as text."""
    rows = [
        ("seconds a step, median", result["seconds"], 1.0, "{:.4f}"),
        ("peak memory of a step, MiB", result["peak_growth"], 2.0**20, "{:.1f}"),
        ("peak memory of the process, MiB", result["peak_process"], 2.0**20, "{:.1f}"),
    ]
    lines = [
        f"One training step (forward, backward, AdamW) of a tiny CLIP, batch {BATCH}, one thread;",
        f"{result['repeats']} steps of each in turn; losses agree to {result['difference']:.1e}.",
        "",
        f"{'':34}{'minivlm':>10}{'PyTorch ' + result['torch']:>18}{'ratio':>8}",
    ]
    for name, pair, unit, form in rows:
        a, b = pair["minivlm"] / unit, pair["torch"] / unit
        lines.append(f"{name:34}{form.format(a):>10}{form.format(b):>18}{a / b:>8.2f}")
    return "\n".join(lines)


def our_step(model: CLIP) -> Step:
    """A step of ours with PyTorch's default AdamW."""
    optimizer = AdamW(
        model.named_parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01
    )

    def step(pixels: Array, ids: Array) -> float:
        optimizer.zero_grad()
        loss = model.loss(pixels, ids)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def batches() -> Iterator[tuple[Array, Array]]:
    """Random pictures and texts of varied length; the same stream at each call."""
    rng = np.random.default_rng(1)
    context, end = TINY.text.context, TINY.text.end
    side = TINY.vision.image
    while True:
        pixels = rng.standard_normal((BATCH, 3, side, side), np.float32)
        ids = rng.integers(end + 1, TINY.text.vocabulary, (BATCH, context))
        ids[np.arange(BATCH), rng.integers(8, context, BATCH)] = end
        yield pixels, ids


def child(what: str, repeats: int) -> dict:
    """What a child process measures: "time" for both models in turn, else one model's memory."""
    keep_freed_memory()
    model = CLIP(TINY, np.random.default_rng(0))
    if what == "ours":
        return _memory(lambda: our_step(model), repeats=3)
    from minivlm.recipes.bench_torch import torch_step, torch_version

    if what == "torch":
        return _memory(lambda: torch_step(model), repeats=3)

    steps = {"torch": torch_step(model), "minivlm": our_step(model)}  # copies the weights first
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    difference = 0.0
    for number, batch in zip(range(repeats + 2), batches(), strict=False):
        losses = {}
        for name, step in steps.items():
            start = time.perf_counter()
            losses[name] = step(*batch)
            if number >= 2:  # the first two steps fill caches and allocate moments
                seconds[name].append(time.perf_counter() - start)
        difference = max(difference, abs(losses["minivlm"] - losses["torch"]))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "seconds": medians,
        "difference": difference,
        "repeats": repeats,
        "torch": torch_version(),
    }


def _memory(make_step: Callable[[], Step], repeats: int) -> dict:
    stream = batches()
    first = [next(stream) for _ in range(repeats)]
    before = resident_memory()
    step = make_step()
    for batch in first:
        step(*batch)
    return {"growth": peak_memory() - before, "peak": peak_memory()}


def in_child(module: str, what: str, repeats: int) -> dict:
    """What `child` of a module here gives, in a fresh process of one thread.

    Raises:
        InputError: something is not installed.
    """
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "minivlm.recipes.bench", module, what, str(repeats)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=os.environ | one, capture_output=True, text=True, cwd=root)
    if done.returncode == 2:
        raise InputError(done.stderr.strip())
    if done.returncode:
        raise RuntimeError(f"the process that measures {what} failed:\n{done.stderr}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    try:
        measured = importlib.import_module(sys.argv[1]).child(sys.argv[2], int(sys.argv[3]))
        sys.stdout.write(json.dumps(measured))
    except InputError as error:
        sys.stderr.write(str(error))
        sys.exit(2)

"""`minivlm bench decode`: writing token by token, ours against transformers' Llama.

Both have the same weights and write the same text greedily, one token at a time with their caches,
in turn, in one process of one thread. The first tokens, which fill buffers, are not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np

from minivlm.models.decoder import Decoder, DecoderConfig
from minivlm.models.generate import generate
from minivlm.recipes.bench import in_child

# Not tied: with random weights a tied model repeats its last token, and any two would agree.
SIZES = {
    "demo: d=64, 3 layers": DecoderConfig(512, 64, 4, 4, 3, hidden=168, tied=False),
    "large: d=1024, 12 layers": DecoderConfig(32000, 1024, 16, 16, 12, hidden=2816, tied=False),
}
PROMPT, WRITTEN, SKIPPED = 32, 48, 4  # tokens


def bench_decode(repeats: int) -> dict:
    """Measure in a fresh process.

    Returns:
        For each size the median seconds a token of either, and whether the texts were equal.

    Raises:
        InputError: PyTorch or transformers is not installed.
    """
    return in_child(__name__, "time", repeats)


def report(result: dict) -> str:
    """The figures of `bench_decode` side by side, as text."""
    lines = [
        f"Writing {WRITTEN} tokens after {PROMPT}, batch 1, with a cache, float32, one thread;",
        f"{result['repeats']} texts of each in turn; median milliseconds a token.",
        "",
        f"{'':26}{'minivlm':>10}{'transformers ' + result['version']:>22}{'ratio':>8}  same text",
    ]
    for name, size in result["sizes"].items():
        a, b = size["minivlm"] * 1000, size["transformers"] * 1000
        same = "yes" if size["same"] else "NO"
        lines.append(f"{name:26}{a:>10.3f}{b:>22.3f}{a / b:>8.2f}  {same}")
    return "\n".join(lines)


def child(what: str, repeats: int) -> dict:
    """What the child process measures."""
    assert what == "time"
    from minivlm.recipes.bench_llama import llama, version, write

    sizes = {}
    for name, config in SIZES.items():
        ours = Decoder(config, np.random.default_rng(0))
        theirs = llama(ours)
        seconds: dict[str, list[float]] = {"minivlm": [], "transformers": []}
        same = True
        for repeat in range(repeats):
            prompt = np.random.default_rng(repeat).integers(config.vocabulary, size=(1, PROMPT))
            texts = []
            for who, tokens in (
                ("minivlm", (int(t[0]) for t in generate(ours, prompt, max_new_tokens=WRITTEN))),
                ("transformers", write(theirs, prompt, WRITTEN)),
            ):
                text, times = _timed(tokens)
                texts.append(text)
                seconds[who] += times[SKIPPED:]
            same &= texts[0] == texts[1]
        sizes[name] = {who: statistics.median(times) for who, times in seconds.items()}
        sizes[name]["same"] = same
    return {"sizes": sizes, "repeats": repeats, "version": version()}


def _timed(tokens: Iterator[int]) -> tuple[list[int], list[float]]:
    """The tokens, and the seconds that each took."""
    text, times = [], []
    began = time.perf_counter()
    for token in tokens:
        now = time.perf_counter()
        text.append(token)
        times.append(now - began)
        began = time.perf_counter()
    return text, times

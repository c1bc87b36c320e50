# %% [markdown]
# # 12 · Flash attention
#
# **How can a softmax be taken over scores of which only a few are ever there?**
#
# Attention compares all tokens with all others, N² scores. FlashAttention never has them: keys
# stream past in tiles, each tile's scores are used and forgotten, and the result is exact. The
# papers are [Milakov and Gimelshein 2018](https://arxiv.org/abs/1805.02867) for the softmax and
# [Dao et al. 2022](https://arxiv.org/abs/2205.14135) for the tiles. The kernel is
# [`a3_flash.py`](../kernels/minivlm_kernels/attention/a3_flash.py), `flash_forward`; it runs here
# without a GPU, in the stepper of [notebook 11](11_a_gpu_in_slow_motion.ipynb).

# %%
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("minivlm") is None:  # a bare kernel in a clone, such as Colab's
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-e", "..[kernels]"], check=True)
    sys.path += [os.path.abspath(".."), os.path.abspath("../kernels")]  # pip tells new kernels only

# %%
from itertools import pairwise

import numpy as np

from minivlm.ops.attention import attend
from minivlm.viz.tiles import draw_tiles, growth, online_softmax
from minivlm_kernels import stepper
from minivlm_kernels.attention import a1_naive, a2_tiled, a3_flash, a4_flash_backward

# %% [markdown]
# ## The wall
#
# One head's scores, as float32. A picture of 336 × 336 pixels makes 577 tokens in the eye of
# LLaVA-1.5; a long text or a short film, many more. And that is one head of one layer.

# %%
for N in (577, 8_192, 131_072):
    inputs, scores = 3 * N * 64 * 4, N * N * 4
    print(f"N = {N:7,}: q, k and v {inputs / 1e6:6.1f} MB, scores {scores / 1e6:10,.1f} MB")

# %% [markdown]
# But a softmax needs all its scores, does it not? It divides by the sum of all exponentials, and
# first of all it subtracts the largest, lest the exponentials overflow.
#
# ## The largest so far
#
# Take the largest *so far*. For each query keep three things: the largest score $m$, the sum
# $\ell$ of $e^{s-m}$, and the sum of values with those weights. When a larger score comes, say
# $m'$, everything that was summed was summed with the wrong $m$. But all of it is wrong by one
# factor, and that can be made good:
#
# $$e^{s-m'} = e^{s-m}\cdot e^{m-m'}$$
#
# So both sums are multiplied by $e^{m-m'}$, and we go on. Four queries, eight keys, two at a time:

# %%
rng = np.random.default_rng(12)
q, k, v = rng.standard_normal((3, 8, 2))
q = 3 * q[:4]
steps = online_softmax(q, k, v, tile=2)
draw_tiles(steps)

# %% [markdown]
# Go down a column. Blue is a tile of scores, orange a score that is the largest so far; grey has
# been used and forgotten, white is yet to come. Where a row has no orange, *shrink* is 1 and the
# sums simply grow. Where it has, they shrink first; a small number there says that all keys before
# hardly matter any more. (In the first line it is 0: there was nothing before.) Query 0 met its
# best key in the first tile; query 3 finds a better one in every tile. *Σ weight·v* is the sum of
# values, and divided by *sum* it is *the mean so far*; green is the result.
#
# The surprise is on the right: *the mean so far* is, in every line, exactly the attention over the
# keys that have passed. The work could end after any tile.

# %%
for step in steps:
    passed = step.first + step.scores.shape[1]
    whole, _ = attend(q[None, None], k[None, None, :passed], v[None, None, :passed])
    print(f"after {passed} keys, off by at most {np.abs(step.mean - whole[0, 0]).max():.1e}")

# %% [markdown]
# ## The kernel
#
# In [`a3_flash.py`](../kernels/minivlm_kernels/attention/a3_flash.py) a thread owns a query, and
# all threads of a block share the tile of keys and values. Three names there are the columns
# above, *largest*, *sum* and *Σ weight·v*: `top`, `total` and `row`. (It takes the scores of a tile
# one after the other; that changes no sum.) Does it come to the same?

# %%
q32, k32, v32 = (x[None, None].astype(np.float32) for x in (q, k, v))  # each (B, H, T, C)
with stepper.watch() as log:
    o, lse = a3_flash.forward(q32, k32, v32, tile=2)
print(f"outputs differ by at most {np.abs(o[0, 0] - steps[-1].mean).max():.0e}")
print(f"log of the sums, by       {np.abs(lse[0, 0] - steps[-1].lse).max():.0e}")

# %% [markdown]
# ## What is never stored
#
# Now three kernels on the same 32 tokens: A1, where each thread walks alone; A2, which shares
# tiles but stores the matrix of scores; and A3. The stepper counts, and this is how many different
# elements of global memory each of them writes:

# %%
N, C, tile = 32, 8, 8
rungs = {"A1 naive": a1_naive, "A2 tiled": a2_tiled, "A3 flash": a3_flash}
tokens = rng.standard_normal((3, 1, 1, N, C)).astype(np.float32)
logs, outputs = {}, {}
for name, rung in rungs.items():
    with stepper.watch() as logs[name]:
        outputs[name], _ = rung.forward(*tokens, tile=tile)
    written = {
        array: len(traffic.written_at)
        for launch in logs[name].launches
        for array, traffic in launch.arrays.items()
        if traffic.space == "global" and traffic.written_at
    }
    print(f"{name}: {written}")

# %% [markdown]
# The result `o` and one number a query, `lse`, are all that A1 and A3 leave behind. A2 leaves
# N² scores. And A1, which stores as little as A3, pays in reading:

# %%
for name, log in logs.items():
    read = sum(launch.bytes_read() for launch in log.launches)
    print(f"{name}: {read:9,} bytes read from global memory")

# %% [markdown]
# ## Against N
#
# How does it grow? The same counts for more and more tokens. Both axes are logarithmic: a straight
# line is a power of N, and its slope is the power.

# %%
sizes = [8, 16, 32, 64]
moved, kept = {name: [] for name in rungs}, {name: [] for name in rungs}
for N in sizes:
    tokens = rng.standard_normal((3, 1, 1, N, C)).astype(np.float32)
    for name, rung in rungs.items():
        with stepper.watch() as log:
            rung.forward(*tokens, tile=tile)
        launches = log.launches
        moved[name].append(sum(each.bytes_read() + each.bytes_written() for each in launches))
        arrays = {array: t for each in launches for array, t in each.arrays.items()}
        stored = [len(t.written_at) for t in arrays.values() if t.space == "global"]
        kept[name].append(sum(stored))
print("N              ", *(f"{N:9}" for N in sizes))
for name in rungs:
    print(f"{name} bytes ", *(f"{number:9,}" for number in moved[name]))
growth(sizes, [("bytes read and written", moved), ("numbers stored", kept)])

# %% [markdown]
# On the left, no miracle: every kernel compares all pairs, and each goes towards slope 2. What
# flash attention changes there is the factor, because a key is read once for eight queries; a
# GPU's tile has 64. On the right is the wall that A2 builds, and A3 does without: slope 1, on top
# of the line of A1.
#
# Do not take bytes for time. These are counts of what threads ask for, and a GPU's caches would
# save A1 some of it. How fast the kernels are on hardware, only hardware can say.

# %%
for name in rungs:
    print(f"{name}: {moved[name][-1] / moved['A3 flash'][-1]:5.1f} times the bytes of A3", end=", ")
    print(f"{kept[name][-1] / kept['A3 flash'][-1]:.1f} times the numbers stored")

# %% [markdown]
# ## The way back
#
# The gradient of a softmax needs its weights, and they were forgotten. So
# [`a4_flash_backward.py`](../kernels/minivlm_kernels/attention/a4_flash_backward.py) makes them
# again. One number a query is enough for that, its log-sum-exp $L = m + \log \ell$, for any pair
# and in any order:
#
# $$p_{ij} = \frac{e^{s_{ij} - m_i}}{\ell_i} = e^{s_{ij} - L_i}$$

# %%
scores = q @ k.T / np.sqrt(2)
plain = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
again = np.exp(scores - steps[-1].lse[:, None])
print(f"weights made again, off by at most {np.abs(again - plain).max():.0e}")

# %% [markdown]
# Is it right? Here are its gradients, from the counting run with the largest N, beside those that
# [`attend`](../minivlm/ops/attention.py) finds with all weights at hand.

# %%
with stepper.watch():
    o, lse = a3_flash.forward(*tokens, tile=tile)
d_o = rng.standard_normal(o.shape).astype(np.float32)
with stepper.watch() as way_back:
    gradients = a4_flash_backward.backward(*tokens, o, lse, d_o, tile=tile)

_, backward = attend(*tokens.astype(np.float64))
for name, ours, stored in zip(("dq", "dk", "dv"), gradients, backward(d_o), strict=True):
    error = np.abs(ours - stored).max()
    print(f"{name}: largest {np.abs(stored).max():.2f}, off by at most {error:.0e}")
for launch in way_back.launches:
    in_global = [t for t in launch.arrays.values() if t.space == "global" and t.written_at]
    written = [f"{len(traffic.written_at)} elements of {traffic.array}" for traffic in in_global]
    print(f"{launch.kernel} writes", ", ".join(written))

# %% [markdown]
# Two kernels, one walk along the keys for dq, one along the queries for dk and dv, so that each
# number has a single writer. In neither is there an array with N² elements: what is stored between
# the way there and the way back are `o` and `lse`. The price is arithmetic, for every score is
# computed once more in each of the two. On a GPU arithmetic is what there is plenty of.
#
# ## Change this line and predict
#
# 1. Turn the keys and values round, `k, v = k[::-1], v[::-1]`, before the first picture. Which
#    columns of the last line change, and which must not?
# 2. Take `tile=8` for the first picture, and then `tile=1`. How many lines has it, how many scores
#    are there at once, and what is *shrink*? Does the green change?
# 3. Double `tile` for the curves, `N, C, tile = 32, 8, 16`, with the sizes as they are. Which of
#    the six curves move?
#
# ## What was claimed

# %%
for step in steps:
    seen = slice(0, step.first + step.scores.shape[1])
    whole, _ = attend(q[None, None], k[None, None, seen], v[None, None, seen])
    np.testing.assert_allclose(step.mean, whole[0, 0], rtol=1e-12)
assert [step.scores.shape for step in steps] == [(4, 2)] * 4
for step, then in pairwise(steps):
    records = then.top > step.top
    np.testing.assert_array_equal(then.shrink[~records], 1)
    assert (then.shrink[records] < 1).all()
found = np.array([then.top > step.top for step, then in pairwise(steps)])  # (tiles, queries)
assert not found[:, 0].any()
assert found[:, 3].all()
np.testing.assert_allclose(outputs["A3 flash"], outputs["A1 naive"], atol=1e-6)
np.testing.assert_allclose(outputs["A2 tiled"], outputs["A1 naive"], atol=1e-6)
for at, N in enumerate(sizes):
    assert kept["A1 naive"][at] == kept["A3 flash"][at] == N * C + N
    assert kept["A2 tiled"][at] == N * C + N + N * N
for name in ("A1 naive", "A2 tiled", "A3 flash"):
    assert 1.8 < np.log2(moved[name][-1] / moved[name][-2]) <= 2
assert moved["A1 naive"][-1] > moved["A2 tiled"][-1] > moved["A3 flash"][-1]
assert a3_flash.tile_for(64) == 64
np.testing.assert_allclose(again, plain, rtol=1e-10)
for ours, stored in zip(gradients, backward(d_o), strict=True):
    np.testing.assert_allclose(ours, stored, atol=1e-5)
most = max(len(t.written_at) for launch in way_back.launches for t in launch.arrays.values())
assert most == sizes[-1] * C < sizes[-1] ** 2

# %% [markdown]
# **Next:** the ladder goes on in [`kernels/`](../kernels/README.md), from shared memory to
# registers and to tensor cores. Where it all began is [00 · Start here](00_start_here.ipynb).

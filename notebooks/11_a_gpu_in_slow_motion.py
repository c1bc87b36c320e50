# %% [markdown]
# # 11 · A GPU in slow motion
#
# **Thousands of threads run one function: who touches what, and why does it matter?**
#
# A GPU runs too many threads too fast to watch. So here they run one at a time. `stepper` takes a
# kernel's own source, walks through it thread by thread on the CPU, and writes down every element
# that anyone touches: [`stepper`](../kernels/minivlm_kernels/stepper/__init__.py). No GPU is
# needed, and what it finds it finds in every run, not now and then.

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
from pathlib import Path

import numpy as np
from numba import cuda, float32

import minivlm
from minivlm.viz.reads import heat_maps, memory_steps, pieces, read_counts
from minivlm.viz.threads import owners, timeline
from minivlm_kernels import stepper
from minivlm_kernels.attention import a1_naive, a2_tiled, a3_flash

# %% [markdown]
# ## One function, many threads
#
# A **kernel** is what one thread does. Threads come in **blocks**, blocks in a **grid**, and the
# only thing in which two threads differ is their number. So a kernel begins with the question who
# am I, and makes of the answer which element is mine.


# %%
@cuda.jit
def double(x, out):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x  # who am I?
    if i < x.size:
        out[i] = 2 * x[i]


x = np.arange(10, dtype=np.float32)
out = np.zeros_like(x)
log = stepper.step(double, 3, 4, x, out, events=True)  # three blocks of four threads
print(out)
owners(log.events, out.shape)

# %% [markdown]
# Ten elements, twelve threads: blocks come in one size only, and two threads of the last have
# nothing to do. That is what the `if` is for. What if it is forgotten? On a GPU the two would
# write into whatever lies behind the array, and often nobody would notice. The stepper does not
# let it come so far: before a thread can write, it has to read, and already that is beyond.


# %%
@cuda.jit
def double_carelessly(x, out):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    out[i] = 2 * x[i]


found = []
try:
    stepper.step(double_carelessly, 3, 4, x, out)
except stepper.OutOfBounds as error:
    found.append(error)
    print(error)

# %% [markdown]
# ## Neighbours should read neighbours
#
# Here are two ways to add up the numbers of an 8×8 matrix, with eight threads. In the first each
# thread takes a row, in the second a column. Same sums, same number of reads.


# %%
@cuda.jit
def sum_of_each_row(matrix, sums):
    t = cuda.threadIdx.x
    total = float32(0)
    for n in range(8):
        total += matrix[t, n]
    sums[t] = total


@cuda.jit
def sum_of_each_column(matrix, sums):
    t = cuda.threadIdx.x
    total = float32(0)
    for n in range(8):
        total += matrix[n, t]
    sums[t] = total


matrix = np.arange(64, dtype=np.float32).reshape(8, 8)
sums = np.zeros((2, 8), np.float32)
rows = stepper.step(sum_of_each_row, 1, 8, matrix, sums[0], events=True)
columns = stepper.step(sum_of_each_column, 1, 8, matrix, sums[1], events=True)
strided = rows.select(array="matrix")
coalesced = columns.select(array="matrix")
print(len(strided), "reads and", len(coalesced), "reads; sums", sums.sum(1))

# %% [markdown]
# But a GPU does not read numbers, it reads **pieces** of 32 bytes, eight numbers each; and threads
# go in groups of up to 32, **warps**, whose threads make each step together. Ours are one warp of
# eight. Below, the memory lies from left to right as it is, row after row of the matrix, and every
# line is one step of all eight threads.

# %%
memory_steps(
    [("a thread a row: strided", strided), ("a thread a column: coalesced", coalesced)],
    matrix.shape,
)

# %% [markdown]
# Blue is what was asked for, with the number of the thread that asked; orange is what came along;
# upright lines are the edges of pieces. The thread that walks along a row looks like the tidy one,
# for it reads its memory in order. But what counts is not what one thread does in time; it is what
# all threads do at one time. Strided, each step fetches eight pieces and uses a number of each.
# Coalesced, it fetches one piece and uses all of it.

# %%
fetched = [sum(pieces(events, matrix.shape)) for events in (strided, coalesced)]
print(f"{fetched[0]} pieces against {fetched[1]}, {fetched[0] // fetched[1]} times as many")

# %% [markdown]
# A cache may have kept some of the orange until the next step. But thousands of threads want
# theirs kept, too.
#
# ## Read once, share
#
# The best read is the one that another thread has done for you. Threads of a block have a small
# memory together, **shared memory**. Attention needs all products of queries and keys, and
# [`a1_naive.py`](../kernels/minivlm_kernels/attention/a1_naive.py) reads both again for each of
# them; [`a2_tiled.py`](../kernels/minivlm_kernels/attention/a2_tiled.py) brings a 4×4 square of q
# and one of k to the block and takes all it can from them. Here are eight tokens that do not look
# ahead. How often is each number of q and k read, to get the scores?

# %%
rng = np.random.default_rng(0)
q, k, v = rng.standard_normal((3, 1, 1, 8, 4)).astype(np.float32)  # eight tokens, four channels
with stepper.watch(events=True) as naive:
    o_naive, _ = a1_naive.forward(q, k, v, causal=True, tile=4)
with stepper.watch(events=True) as tiled:
    o_tiled, _ = a2_tiled.forward(q, k, v, causal=True, tile=4)
counts = [
    read_counts(log.select(launch=0, array=array), k.shape)
    for log in (naive, tiled)
    for array in ("q", "k")
]
print(
    "reads of q and k:",
    sum(map(np.sum, counts[:2])),
    "in A1,",
    sum(map(np.sum, counts[2:])),
    "in A2",
)
titles = ["A1: q", "A1: k", "A2: q", "A2: k"]
heat_maps(list(zip(titles, counts, strict=True)), row="token", column="channel")

# %% [markdown]
# In A1 you see who looks at whom. The first key is read by all eight queries, and twice, because
# each walks over its keys twice; the last key only by the last query. In A2 a number is read once
# for each square of scores that it has a part in: keys 0 to 3 meet two tiles of queries, keys 4 to
# 7 only one, for the upper right square of the scores is never looked at. A real tile has 16 rows
# and more, and that many reads become one.
#
# ## Wait for the others
#
# To share is to wait. Here each of four threads puts a number into shared memory and takes that of
# its neighbour. `cuda.syncthreads()` is a **barrier**: nobody goes on until all have come.


# %%
@cuda.jit
def shift(x, out):
    shared = cuda.shared.array(4, float32)
    t = cuda.threadIdx.x
    shared[t] = x[t]
    cuda.syncthreads()
    out[t] = shared[(t + 1) % 4]


four, shifted = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
waited = stepper.step(shift, 1, 4, four, shifted, events=True)
print(four, "→", shifted)
timeline(waited.events)

# %% [markdown]
# Read each line from left to right: that is what a thread does. Between the lines nothing is
# ordered, except by the grey bar. So take it away.


# %%
@cuda.jit
def shift_without_waiting(x, out):
    shared = cuda.shared.array(4, float32)
    t = cuda.threadIdx.x
    shared[t] = x[t]
    out[t] = shared[(t + 1) % 4]


try:
    stepper.step(shift_without_waiting, 1, 4, four, shifted)
except stepper.Race as error:
    found.append(error)
    print(error)

# %% [markdown]
# A **race**: two threads use one element, one of them writes, and no barrier says who is first. The
# stepper names both threads and both lines at once. With `stop=False` it goes on, so that we can
# see all of them: what has a black frame may happen before or after its partner.

# %%
raced = stepper.step(shift_without_waiting, 1, 4, four, shifted, events=True, stop=False)
timeline(raced.events)

# %% [markdown]
# And the result? It depends on who is first. The stepper runs thread 0 first, or, with
# `backwards=True`, the last one. A number that was not there yet is NaN here; on a GPU it is
# whatever an earlier kernel left, which may well be the right number, until it is not.

# %%
orders = {}
for backwards in (False, True):
    for kernel in (shift, shift_without_waiting):
        result = np.zeros(4, np.float32)
        stepper.step(kernel, 1, 4, four, result, stop=False, backwards=backwards)
        orders[kernel.__name__, backwards] = result
        print(f"{kernel.__name__:22} {'last' if backwards else 'first'} thread first: {result}")

# %% [markdown]
# ## Wait for those who never come
#
# If a barrier waits for all, all must come. A barrier in one arm of an `if` is a trap: on a GPU
# this hangs, or is undefined, which is worse.


# %%
@cuda.jit
def half_of_them_wait(x, out):
    t = cuda.threadIdx.x
    if t < 2:
        out[t] = x[t]
        cuda.syncthreads()
    else:
        out[t] = -x[t]


try:
    stepper.step(half_of_them_wait, 1, 4, four, shifted)
except stepper.DivergentBarrier as error:
    found.append(error)
    print(error)

# %% [markdown]
# ## Walk with one thread
#
# The stepper keeps the lines and the names of the file, so that any debugger can walk in it.
# [`docs/one_kernel.py`](../docs/one_kernel.py) runs a flash attention kernel on eight tokens; what
# follows is a real session of pdb with thread 0 of the first block. It stops at the barrier, looks
# at the tile in shared memory, says `n` for "next line", and looks again.

# %%
root = Path(minivlm.__file__).parents[1]
source = Path(a3_flash.__file__).read_text(encoding="utf-8").splitlines()
barrier = next(n for n, line in enumerate(source, 1) if "syncthreads" in line)
commands = [f"tbreak {barrier}", "c", "p thread, first_key", "p keys", "n", "p keys", "c"]
session = subprocess.run(
    [sys.executable, "docs/one_kernel.py", "0", "0"],
    cwd=root,
    input="\n".join(commands),
    capture_output=True,
    text=True,
)
stop, *answers = session.stdout.replace(f"{root}/", "").split("(Pdb) ")
print(stop, end="")
for command, answer in zip(commands[:-1], answers, strict=False):
    print(f"(Pdb) {command}\n{answer}", end="")

# %% [markdown]
# Before the barrier only this thread's column is there; it had brought that. What nobody has
# written yet is NaN. One `n` later all of it is there: while it waited, the other three threads
# ran. Other ways to walk, in VS Code too, are in [`docs/stepping.md`](../docs/stepping.md).
#
# ## Change this line and predict
#
# 1. Let four threads add up every second column: `matrix[n, 2 * t]`, and launch four. How many
#    pieces does a step fetch, and how much of them is used?
# 2. In `shift`, let each thread take its own number, `shared[t]`, and delete the barrier. Is that
#    a race?
# 3. Run A2 with `tile=2`. How often is each number of k read? With `tile=8`? Without `causal`?
#
# ## What was claimed

# %%
np.testing.assert_array_equal(out, 2 * x)
assert len(log.select(kind="write")) == 10
assert len(waited.select(kind="barrier")) == 4
beyond, race, trap = found
assert beyond.access.at == (10,)
np.testing.assert_array_equal(sums, [matrix.sum(1), matrix.sum(0)])
assert pieces(strided, matrix.shape) == [8] * 8
assert pieces(coalesced, matrix.shape) == [1] * 8
np.testing.assert_allclose(o_naive, o_tiled, atol=1e-6)
assert [set(count.flat) for count in counts] == [set(range(2, 17, 2))] * 2 + [{1, 2}] * 2
assert {race.first.moment.thread.x, race.second.moment.thread.x} == {0, 1}
assert len(raced.findings) == 1
assert raced.findings[0].times == 4
for backwards in (False, True):
    np.testing.assert_array_equal(orders["shift", backwards], [1, 2, 3, 0])
    assert np.isnan(orders["shift_without_waiting", backwards]).any()
assert "same barrier" in str(trap)
before, after = answers[3], answers[5]
assert before.count("nan") == 12
assert "nan" not in after
assert session.returncode == 0

# %% [markdown]
# **Next:** [12 · Flash attention](12_flash_attention.ipynb) shares, waits, and never stores the
# scores. The whole ladder of kernels, each with one idea more, is in
# [`kernels/`](../kernels/README.md); online in CUDA's own words: [the programming
# guide](https://docs.nvidia.com/cuda/cuda-c-programming-guide/).

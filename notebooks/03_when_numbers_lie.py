# %% [markdown]
# # 03 · When numbers lie
#
# **When is right code wrong?**
#
# When its numbers are floating-point numbers. A float32 keeps about seven digits, and here are
# four ways to lose them: take a step that is too small, leave the range, subtract two numbers
# that are nearly equal, or add a small one to a large one. Each of them can ruin a training. On
# this page you will see each happen, and what minivlm does about it.
# The classic is Goldberg's *What every computer scientist should know about floating-point
# arithmetic*; for bfloat16 see [Kalamkar et al. 2019](https://arxiv.org/abs/1905.12322).

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
import numpy as np

from minivlm import gradcheck
from minivlm.ops.attention import attention
from minivlm.ops.losses import cross_entropy
from minivlm.ops.normalize import log_sum_exp, softmax, softmax_arrays
from minivlm.tensor import Tensor, record
from minivlm.viz.bits import bit_rows, to_bfloat16
from minivlm.viz.style import BLUE, GRAY, ORANGE, new_figure

rng = np.random.default_rng(0)

# %% [markdown]
# ## What a number is made of
#
# A float has a sign (green), an exponent (orange) that says between which powers of two it lies,
# and a fraction (blue) that says where between them; dark cells are ones. Here is 0.1 in the three
# formats that models are trained in. None of them has 0.1: in binary its digits never end, so each
# keeps the nearest number it has, which stands on the right.

# %%
bit_rows([(0.1, "float32"), (0.1, "bfloat16"), (0.1, "float16")])

# %% [markdown]
# The fraction has the same number of bits wherever the number lies. So the numbers lie dense near
# zero and far apart where they are large; only the *relative* distance stays nearly the same: it is
# between ε/2 and ε, where ε is the step from 1 to the next number.

# %%
for dtype in (np.float64, np.float32, np.float16):
    known = np.finfo(dtype)
    print(f"{dtype.__name__}: ε = {known.eps:.1e}, largest {known.max:.1e}", end=", ")
    print(f"after 1000 comes 1000 (1 + {np.spacing(dtype(1000)) / 1000:.1e})")

# %% [markdown]
# ## 1 · The step that is too small
#
# Is a gradient right? Measure it: move the input by h, see how far the output moves, divide. In
# mathematics, the smaller h the better. Let us try that with $e^x$, whose slope is known, at 20
# places between 0.5 and 1.5, and look at the worst of them.

# %%
h = np.logspace(-16, 0, 130)
places = np.linspace(0.5, 1.5, 20)[:, None]
errors = {}
for dtype in (np.float32, np.float64):
    x, step = places.astype(dtype), h.astype(dtype)
    ahead, here, behind = np.exp(x + step), np.exp(x), np.exp(x - step)
    slopes = {"one side": (ahead - here) / step, "both sides": (ahead - behind) / (2 * step)}
    for sides, slope in slopes.items():
        errors[dtype.__name__, sides] = np.abs(slope / np.exp(places) - 1).max(0)

figure = new_figure(7, 3.8)
axes = figure.subplots()
for (dtype, sides), error in errors.items():
    color, line = ORANGE if dtype == "float32" else BLUE, ":" if sides == "one side" else "-"
    axes.loglog(h, error, line, color=color, label=f"{dtype}, {sides}")
axes.loglog(h, h**2 / 6, "--", color=GRAY, linewidth=1)
axes.text(3e-2, 2e-6, "h²/6", color=GRAY)
axes.set(xlabel="h", ylabel="relative error of the slope", ylim=(1e-12, 5))
axes.legend(frameon=False, loc="lower left")
axes.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# Every curve has a valley. From the right down into it, mathematics: with points on both sides the
# error is h²/6, for one side h/2. From the left down, arithmetic: the two values are rounded, each
# by about ε, and the division by h makes the rounding large: ε/h. At the far left, $x + h$ *is*
# $x$, the slope comes out as 0, and the error is 1. With both sides, h²/6 and ε/h meet near the
# cube root of ε, and there is the best h:

# %%
for dtype in (np.float32, np.float64):
    error = errors[dtype.__name__, "both sides"]
    root = np.finfo(dtype).eps ** (1 / 3)
    print(f"{dtype.__name__}: best h {h[error.argmin()]:.0e}, cube root of ε {root:.0e}", end=", ")
    print(f"error there {error.min():.0e}")

# %% [markdown]
# So `gradcheck` works in float64, on both sides, with h = 10⁻⁶, and asks for six digits. A float32
# could not tell a right gradient from one that is off by a thousandth of a per cent. See what
# `gradcheck` says of attention, whose gradient *is* right, when we choose h badly; and then, with
# its own h, of an x² whose gradient claims to be 2.002 x:

# %%
q, k, v = (Tensor(x, requires_grad=True) for x in rng.standard_normal((3, 1, 2, 5, 4)))
verdicts = {}
for step in (1e-1, 1e-2, 1e-4, 1e-6, 1e-8, 1e-12, 1e-14):
    try:
        gradcheck(attention, q, k, v, rng=np.random.default_rng(1), step=step)
        verdicts[step] = "right"
    except AssertionError:
        verdicts[step] = "wrong"
    print(f"h = {step:.0e}: the gradient of attention is called {verdicts[step]}")

# %%
x = Tensor(rng.standard_normal(5), requires_grad=True)
try:
    gradcheck(lambda x: record(x.data**2, (x, lambda dy: dy * 2.002 * x.data)), x, rng=rng)
except AssertionError as error:
    print(error)

# %% [markdown]
# ## 2 · Out of range
#
# The softmax makes shares of scores: $p_i = e^{x_i} / \sum_j e^{x_j}$. In float32, $e^{89}$ is more
# than the largest number, and infinity divided by infinity is *not a number*. Are scores of 89
# likely? CLIP divides cosines by a temperature of 0.01, so its scores reach 100.

# %%
cosines = np.array([0.95, 0.90, 0.20], np.float32)
scores = cosines / np.float32(0.01)
with np.errstate(over="ignore", invalid="ignore"):  # NumPy would warn, and it would be right
    by_the_book = np.exp(scores) / np.exp(scores).sum()
shifted, _ = softmax_arrays(scores, -1)
print("scores             ", scores)
print("by the book        ", by_the_book)
print("minus the largest  ", shifted.round(4))

# %% [markdown]
# One NaN in a loss, and after one step every weight of the model is NaN. The cure costs one
# subtraction: adding a constant to all scores changes no share, so we may subtract the largest.
# Then the largest power is $e^0 = 1$, and what gets too small becomes 0, which is as near as a
# float32 comes. It is the first line of [`softmax_arrays`](../minivlm/ops/normalize.py).
#
# ### The logarithm of nothing
#
# A loss needs the *logarithm* of a share. Here even the good softmax is not good enough: the share
# of a hopeless choice is 0, and its logarithm −∞. But on paper the logarithm and the exponential
# cancel, so never form the share:
#
# $$\log p_i = x_i - \log \textstyle\sum_j e^{x_j}, \qquad
#   \log \sum_j e^{x_j} = m + \log \sum_j e^{x_j - m}, \quad m = \max_j x_j.$$

# %%
logits = np.array([0.0, 50.0, 200.0], np.float32)
with np.errstate(divide="ignore"):
    of_shares = np.log(softmax_arrays(logits, -1)[0])
direct = logits - log_sum_exp(logits, -1)
print("log of the softmax    ", of_shares)
print("minus the log-sum-exp ", direct)

# %% [markdown]
# What does that do to learning? Let the right answer be the hopeless one, the first. Never had the
# model more to learn: up with the first, down with its favourite, the last. `cross_entropy`, which
# uses the formula above, says just that; the logarithm of a softmax answers with NaN.

# %%
wrong = Tensor(logits[None], requires_grad=True)
fused = Tensor(logits[None], requires_grad=True)
with np.errstate(divide="ignore", invalid="ignore"):
    (-softmax(wrong).log()[:, 0].sum()).backward()
cross_entropy(fused, np.array([0])).backward()
print("gradient through log(softmax(x))", wrong.grad)
print("gradient of cross_entropy       ", fused.grad)

# %% [markdown]
# ## 3 · Two numbers that are nearly equal
#
# The variance is the mean of the squares minus the square of the mean; so says the book, and it
# needs only one pass over the data. Here are a thousand numbers with a variance of 1, drawn twenty
# times, around a mean that we move away from zero.

# %%
noise = rng.standard_normal((20, 1000))
noise = (noise - noise.mean(1, keepdims=True)) / noise.std(1, keepdims=True)
means = 10.0 ** np.arange(0, 6)
one_pass, two_pass = [], []
for mean in means:
    x = (noise + mean).astype(np.float32)
    one_pass.append((x * x).mean(1) - x.mean(1) ** 2)
    two_pass.append(((x - x.mean(1, keepdims=True)) ** 2).mean(1))
    low, high = one_pass[-1].min(), one_pass[-1].max()
    print(f"mean {mean:7.0f}: one pass from {low:10.4f} to {high:10.4f}", end=", ")
    print(f"subtracting first from {two_pass[-1].min():.4f} to {two_pass[-1].max():.4f}")

# %% [markdown]
# A variance below zero! Its square root would be another NaN. And yet nothing is wrong with the
# subtraction: between numbers so close it is *exact*. It takes away the digits that agree, and what
# is left is the rounding of before, an ε of the square of the mean: 10⁻⁷ times 10¹⁰, a thousand. So
# [`layer_norm_arrays`](../minivlm/ops/normalize.py) subtracts the mean first, when all digits are
# still there.
#
# ## 4 · A small one and a large one
#
# From 2²⁴ on, float32 has no odd numbers.

# %%
border = np.float32(2**24)
print(f"{border:.0f} + 1 = {border + np.float32(1):.0f}")
bit_rows([(2.0**24 - 1, "float32"), (2.0**24, "float32"), (2.0**24 + 2, "float32")])

# %% [markdown]
# Between the second row and the third, the fraction has no room for a number. Whoever adds up many
# small numbers, one after the other, adds small to large most of the time. Let us add up ten
# million times 0.1. `np.cumsum` goes one by one; `np.sum` cuts the row in halves, and the halves
# again, down to short runs, adds up pair by pair, and so mostly adds equals to equals.

# %%
tenth = np.full(10_000_000, 0.1, np.float32)
counts = 10 ** np.arange(1, 8)
one_by_one = np.cumsum(tenth)[counts - 1]
in_pairs = np.array([tenth[:count].sum() for count in counts])
truth = counts * np.float64(tenth[0])  # the sum of what float32 has in place of 0.1

figure = new_figure(6, 3.2)
axes = figure.subplots()
for sums, line, name in ((one_by_one, "o-", "one by one"), (in_pairs, "s-", "in pairs")):
    color = ORANGE if sums is one_by_one else BLUE
    axes.loglog(counts, np.abs(sums / truth - 1), line, color=color, label=name)
axes.axhline(float(np.finfo(np.float32).eps), color=GRAY, linestyle="--", linewidth=1, label="ε")
axes.set(xlabel="numbers added", ylabel="relative error", ylim=(2e-9, 1))
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
figure

# %%
print(f"ten million times 0.1: {one_by_one[-1]:,.0f} one by one, {in_pairs[-1]:,.0f} in pairs")

# %% [markdown]
# ## bfloat16, by its bits
#
# Large models are trained in **bfloat16**: a float32 whose lower half is cut off. The exponent is
# all there, so the range is the same; the fraction has 7 bits, two to three digits. Cutting would
# always round towards zero. Rounding to the nearest is a trick on the bits, read as an integer: add
# half of what will be cut (a little less where the last bit kept is 0, so that a tie goes to the
# even one), let the carry run, and cut.

# %%
pi = np.array([np.pi], np.float32)
bits = pi.view(np.uint32)
rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
print(f"π is {pi[0]:.7f} in float32 and {rounded.view(np.float32)[0]:.7f} in bfloat16")
bit_rows([(np.pi, "float32"), (np.pi, "bfloat16"), (257.0, "float32"), (257.0, "bfloat16")])

# %% [markdown]
# Look at the last two rows: **in bfloat16, 257 is 256.** Count the positions of a text in it, and
# from word 256 on, words share places. What bfloat16 does to the positions of long texts in large
# models is told by [Wang et al. 2024](https://arxiv.org/abs/2411.13476).
#
# And a weight of 1 cannot be moved by an update of 0.001, however often it comes: the next number
# is 0.0078 away. So training keeps a *master* copy of the weights in float32 and rounds a copy of
# it for each step:

# %%
alone, master = np.ones(1, np.float32), np.ones(1, np.float32)
kept = {"bfloat16 weights": [1.0], "float32 master, rounded": [1.0]}
for _ in range(100):
    alone = to_bfloat16(alone + np.float32(0.001))
    master = master + np.float32(0.001)
    kept["bfloat16 weights"].append(float(alone[0]))
    kept["float32 master, rounded"].append(float(to_bfloat16(master)[0]))

figure = new_figure(6, 2.8)
axes = figure.subplots()
for (name, path), color in zip(kept.items(), (ORANGE, BLUE), strict=True):
    axes.plot(path, color=color, label=name)
axes.set(xlabel="updates", ylabel="the weight")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# minivlm trains in float32; its kernels for tensor cores multiply in bfloat16 and add up in
# float32, for the reason of section 4.
#
# ## Change this line and predict
#
# 1. In section 1, replace `np.exp` by `np.sin` in the line `ahead, here, behind = …`, and in
#    `slope / np.exp(places)` put `np.cos`. Near 1.5 the sine is large and its slope small. Which
#    side of the valleys with *both sides* moves, and which stays?
# 2. Let the temperature be 0.02 rather than 0.01. Is the softmax by the book right now? Where is
#    the border?
# 3. Add updates of 0.004 rather than 0.001 (in both lines). Does the weight in bfloat16 move? By
#    how much at a time, and what is half of that?
#
# ## What was claimed

# %%
assert errors["float64", "both sides"].min() < 1e-9
assert errors["float32", "both sides"].min() > 1e-6
for dtype in (np.float32, np.float64):
    best = h[errors[dtype.__name__, "both sides"].argmin()]
    assert 0.1 < best / np.finfo(dtype).eps ** (1 / 3) < 10
    assert errors[dtype.__name__, "both sides"][0] == 1
assert (verdicts[1e-1], verdicts[1e-6], verdicts[1e-14]) == ("wrong", "right", "wrong")
assert np.isnan(by_the_book[:2]).all()
np.testing.assert_allclose(shifted.sum(), 1, rtol=1e-6)
assert np.isneginf(of_shares[0])
assert direct[0] == -200
assert not np.isfinite(wrong.grad).all()
np.testing.assert_allclose(fused.grad, [[-1, 0, 1]])
assert one_pass[-1].min() < 0
np.testing.assert_allclose(two_pass, 1, rtol=1e-3)
assert border + np.float32(1) == border
assert abs(one_by_one[-1] / 1e6 - 1) > 0.05
assert abs(in_pairs[-1] / 1e6 - 1) < 1e-6
np.testing.assert_array_equal(rounded.view(np.float32), to_bfloat16(pi))
assert to_bfloat16(np.array([257], np.float32))[0] == 256
assert kept["bfloat16 weights"][-1] == 1
assert to_bfloat16(np.array([1 + 0.0078125], np.float32))[0] == 1 + 2**-7
assert abs(kept["float32 master, rounded"][-1] - 1.1) < 0.01

# %% [markdown]
# **Next:** [04 · From pixels to tokens](04_from_pixels_to_tokens.ipynb). The numbers can be
# trusted now; let us give them a picture.

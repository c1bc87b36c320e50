# %% [markdown]
# # 05 · Attention by hand
#
# **What does a token do when it "looks at" the others?**
#
# It asks, compares, and takes a mean. That is all of attention, and for four words it fits on one
# strip of paper. The code that runs here is the code that CLIP and LLaVA run:
# [`minivlm/ops/attention.py`](../minivlm/ops/attention.py), `attend`. The paper is [Vaswani et
# al. 2017](https://arxiv.org/abs/1706.03762), and its equation 1 says
#
# $$\text{output} = \text{softmax}\!\left(\frac{q\,k^\top}{\sqrt{C}}\right) v$$

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
from minivlm.ops.attention import attend, attention, attention_weights
from minivlm.tensor import Tensor
from minivlm.viz.strip import attention_strip

# %% [markdown]
# ## Four words, three numbers each
#
# Every word has made three vectors of itself. A **query** says what it looks for, a **key** what
# it can be found by, a **value** what it has to give. In a model, three matrices make them; here
# they are drawn at random, with two exceptions. Keys have length 1, so that none is louder than
# another; and the word *circle* asks for exactly what *red* offers: its query is eight times
# red's key.

# %%
words = ["a", "red", "circle", "."]
rng = np.random.default_rng(4)
q, k, v = rng.standard_normal((3, 4, 3))  # each (T, C): four words, three channels
k /= np.linalg.norm(k, axis=1, keepdims=True)
q[2] = 8 * k[1]

scores = q @ k.T / np.sqrt(3)
weights = attention_weights(q[None, None], k[None, None])[0, 0]
attention_strip(
    [("q", q), ("k", k), ("q kᵀ/√C", scores), ("softmax", weights), ("v", v), ("out", weights @ v)],
    rows=words,
    columns=words,
)

# %% [markdown]
# Read it from the left; every row is a word, and each matrix is bright where its own numbers are
# large. A **score** is the dot product of a query with a key: how well what I
# look for fits what you offer. The **softmax** turns a row of scores into shares that sum to one.
# The **output** is the mean of the values with those shares.
#
# Look at the row of *circle*. Almost its whole share went to *red*, and so its output is almost
# red's value. Nobody told it where *red* stands: attention finds by content, not by place.

# %%
found = weights[2].argmax()
print(f"circle looks at {words[found]} with {weights[2, found]:.0%} of its attention")

# %% [markdown]
# ## Why divide by √C?
#
# The dot product of two vectors of C random numbers, each with a spread of 1, has a spread of √C.
# With many channels the softmax then makes a hard choice: one share is nearly 1, and where shares
# are 0 or 1 their gradient vanishes. Dividing by √C keeps the spread at 1 for any width.
# (`attention_weights` divides by itself, so to see what would be without, we multiply first.)

# %%
for C in (4, 64, 512):
    wide_q, wide_k = rng.standard_normal((2, 200, C))
    plain = attention_weights(wide_q[None, None] * np.sqrt(C), wide_k[None, None])
    scaled = attention_weights(wide_q[None, None], wide_k[None, None])
    spread, without = (wide_q @ wide_k.T).std(), plain.max(-1).mean()
    print(f"C = {C:3}: scores spread by {spread:4.1f}, the largest of 200 shares", end=" ")
    print(f"{without:.2f}; divided by √C, {scaled.max(-1).mean():.2f}")

# %% [markdown]
# ## No looking ahead
#
# A model that writes must not see the words that it has yet to write. So each query may look at
# its own place and at those before it: the scores above the diagonal become −∞, and e to the −∞
# is 0. The other scores stay as they were, and every row of shares still sums to one.

# %%
causal = attention_weights(q[None, None], k[None, None], np.tri(4, dtype=bool))[0, 0]
hidden = np.where(np.tri(4, dtype=bool), scores, -np.inf)
attention_strip(
    [("scores, causal", hidden), ("softmax", causal), ("v", v), ("output", causal @ v)],
    rows=words,
    columns=words,
)

# %% [markdown]
# The first word can only look at itself, so its output is its own value. And *circle* still finds
# *red*, which stands before it.
#
# ## The way back
#
# `attend` returns two things: the output, and a function that takes the gradient of the output
# and gives those of q, k and v. What that function does is `attention_backward`, in the same
# file. Open it: it goes through the forward lines in reverse, and its comments name the line that
# is being undone. In the middle the softmax has its say,
#
# $$dS = P \odot \left(dP - \textstyle\sum_j dP_j P_j\right).$$
#
# Does it hold? The gradient says how the output moves when an input moves a little. So move one a
# little, and look.

# %%
out, backward = attend(q[None, None], k[None, None], v[None, None], None, True)
weight_of_outputs = rng.standard_normal(out.shape)  # any scalar made of the output will do
dq, dk, dv = backward(weight_of_outputs)

h = 1e-5
moved = k.copy()
moved[1, 0] += h  # the key of "red", its first channel
out_moved, _ = attend(q[None, None], moved[None, None], v[None, None], None, True)
measured = ((out_moved - out) * weight_of_outputs).sum() / h
print(f"measured {measured:.6f}   by hand {dk[0, 0, 1, 0]:.6f}")

# %% [markdown]
# It does. Here are all three gradients. Whose question would change the output?

# %%
attention_strip([("dq", dq[0, 0]), ("dk", dk[0, 0]), ("dv", dv[0, 0])], rows=words)

# %% [markdown]
# Look at dq. In the row of *a* it is zero: whatever it asked, it could only look at itself. And
# *circle* asks so loudly that its choice is made, with a share of nearly 1: its row is almost
# zero, too, and a little learning would hardly change what it looks at. That is the gradient
# that vanishes.
#
# One number was checked above. `gradcheck` moves all of an input at once, along random directions,
# and raises where a gradient is off.

# %%
inputs = [Tensor(x[None, None], requires_grad=True) for x in (q, k, v)]
gradcheck(lambda q, k, v: attention(q, k, v, causal=True), *inputs, rng=rng)
print("all three gradients are slopes")

# %% [markdown]
# ## Change this line and predict
#
# 1. Set `q[2] = 80 * k[1]`. What happens to the row of *circle*, and what to its row of dq? Then
#    try `0 * k[1]`.
# 2. After the line `q[2] = …`, let *red* and *circle* change places for those who look:
#    `k, v = k[[0, 2, 1, 3]], v[[0, 2, 1, 3]]`. Which rows of the output change? (Without the
#    causal mask, and with it.)
# 3. After that same line, put `k[2] *= 10`: the word *circle* gets ten times as loud. Look at its
#    column of the scores before you run it: who is drawn to it, and who is driven away?
#
# ## What was claimed

# %%
assert found == 1
assert weights[2, 1] > 0.8
np.testing.assert_allclose(weights.sum(1), 1)
np.testing.assert_allclose(causal @ v, out[0, 0])
np.testing.assert_array_equal(np.triu(causal, 1), 0)
assert abs(measured - dk[0, 0, 1, 0]) < 1e-4
np.testing.assert_array_equal(dq[0, 0, 0], 0)
assert np.abs(dq[0, 0, 2]).max() < 0.1 * np.abs(dq[0, 0, [1, 3]]).max()

# %% [markdown]
# **Next:** [06 · What a ViT looks at](06_what_a_vit_looks_at.ipynb) lays such weights over a
# picture. How a GPU computes them without ever storing the matrix is
# [12](12_flash_attention.ipynb).

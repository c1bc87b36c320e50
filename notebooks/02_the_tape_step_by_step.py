# %% [markdown]
# # 02 · The tape, step by step
#
# **What happens inside `loss.backward()`, and what does it cost?**
#
# Three instruments answer. A slide show stops after every step of the way back. `trace` writes one
# line for every operation, with the place in the code. And a mountain of memory shows what is kept
# for the way back, when it is let go, and what it saves to freeze a layer. The code is
# [`minivlm/tensor.py`](../minivlm/tensor.py), `Tensor.backward`, forty lines; that one can trade
# memory for time is the idea of [Chen et al. 2016](https://arxiv.org/abs/1604.06174).

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

import minivlm
from minivlm.nn.block import MLP, Block
from minivlm.nn.module import freeze, unfreeze
from minivlm.ops.activations import tanh
from minivlm.tensor import Tensor, no_grad
from minivlm.viz.graph import watch_graph
from minivlm.viz.memory import memory_mountains, watch_memory
from minivlm.viz.slides import slideshow

# %% [markdown]
# ## Slowly
#
# One weight, used twice: $L = (w \tanh(w x))^2$. Small as it is, it has what matters: a chain, a
# leaf that is used twice, and a constant that nobody asks for a gradient.
#
# If the page is alive you have a slider and a button that plays; else read the pictures downwards.
# The box that passes its gradient on is dark, and the shaded arrows are the ways the shares take
# in this step.

# %%
w, x = Tensor(0.5, requires_grad=True), Tensor(2.0)
with watch_graph(w=w, x=x) as graph:
    loss = (w * tanh(w * x)) ** 2
    loss.backward()
slideshow(graph.steps())

# %% [markdown]
# Three things to see:
#
# - It runs **newest first**, and a box passes on only when its gradient is complete.
# - $w$ gets its gradient in **two parts**: in the third picture its ∂ is there, and not final yet.
#   A leaf does nothing but collect.
# - $x$ is a constant. No arrow to it is ever shaded: **its gradient is not computed**.
#
# Collecting goes on. A second loss adds to what is there; who wants to begin anew sets `grad` to
# None, which is what `optimizer.zero_grad()` does.

# %%
once = w.grad.item()
((w * tanh(w * x)) ** 2).backward()
print(f"after one loss {once:.4f}, after the same again {w.grad.item():.4f}")

# %% [markdown]
# ## Each line a place in the code
#
# Now something real: one block of a transformer, the very one that both of CLIP's towers are made
# of. Inside `minivlm.trace()` each operation writes a line: → forward, with the shape, the range of
# the values and who called it; ← on the way back, with the length of the gradient that has arrived
# and **where its gradient is written**. In an editor or a terminal such a place is a link.

# %%
rng = np.random.default_rng(0)
block = Block(width=32, heads=4, depth=1, activation="gelu", causal=False, rng=rng)
tokens = Tensor(rng.standard_normal((2, 9, 32), np.float32))  # two sentences of nine tokens

lines = []
with minivlm.trace(lines.append):
    block(tokens).mean().backward()
print("\n".join(lines))

# %% [markdown]
# Set a breakpoint at one of the places on the right and run the cell again in a debugger: it stops
# inside the gradient. There is nothing between you and the arithmetic.
#
# Look at the very last line. Its place in the code is not `layer_norm_dx`, as one would expect, but
# the function below it, the gradient of the weight. The tokens are constants, so nobody asked for
# theirs. The next section is about what that saves.
#
# ## What is kept, and when it is let go
#
# The way back needs some values of the way there: the gradient of $a\,b$ with respect to $a$ is
# $b$, so somebody has to keep $b$. In minivlm nobody is told to. A gradient function *mentions*
# $b$, and as long as Python can reach the function, $b$ stays. As soon as `backward` has passed a
# node, it drops the node's functions, and with them the values.
#
# Here are three MLPs of the kind that sits in a block, one after the other, and the memory at
# every moment of a step.

# %%
mlps = [MLP(width=128, hidden=512, activation="gelu", rng=rng) for _ in range(3)]
batch = Tensor(rng.standard_normal((1024, 128), np.float32))

with watch_memory() as everything:
    mlps[2](mlps[1](mlps[0](batch))).mean().backward()
everything.draw()

# %% [markdown]
# Up in blue, down in orange. What `linear` keeps is its input, for the gradient of the weight; what
# `gelu` keeps is its input, for its slope; and where there are 512 channels, the steps are large.
# Orange falls as the values are let go. It does not quite reach the ground: the gradients of the
# weights, which are what we came for, stay.

# %%
gradients = sum(p.grad.nbytes for mlp in mlps for p in mlp.parameters())
print(f"at the peak {everything.peak / 1e6:.1f} MB, gradients {gradients / 1e6:.1f} MB")

# %% [markdown]
# The memory of training is this mountain: batch times depth times width. So a GPU is full long
# before the weights fill it, and so the idea of *checkpointing*: keep less, and compute it anew on
# the way back.
#
# ## What frozen layers cost
#
# LLaVA trains with frozen parts: its eye never learns, and at first the language model does not
# either. Two of our three MLPs are frozen now: the first two, as an eye would be; or the last two,
# as a language model behind a projector.

# %%
mountains = {}
cases = {"all learn": [], "first two frozen": mlps[:2], "last two frozen": mlps[1:]}
for title, frozen in cases.items():
    unfreeze(*mlps)
    freeze(*frozen)
    for p in (p for mlp in mlps for p in mlp.parameters()):
        p.grad = None
    with watch_memory() as mountains[title]:
        mlps[2](mlps[1](mlps[0](batch))).mean().backward()
unfreeze(*mlps)
memory_mountains(mountains)

# %%
steps = {}
for title, memory in mountains.items():
    steps[title] = memory.steps()
    print(f"{title:17} {memory.peak / 1e6:5.1f} MB at the peak, {steps[title]:2} steps back")

# %% [markdown]
# **Frozen in front is free.** What no gradient will pass through is not recorded: it keeps nothing,
# and the way back ends before it. **Frozen behind is not.** No weight learns there, but to reach
# the layer that does, the gradient has to go through: all its steps are taken, `gelu` still needs
# its input, and only the inputs of `linear` are spared. That is why an eye can be large and cheap
# to train with, and a frozen language model cannot.
#
# In code it is one line of `record`: edges into inputs that want no gradient are dropped, so that
# nothing mentions what they would need. And in `no_grad` all edges are:

# %%
with no_grad(), watch_memory() as evaluating:
    mlps[2](mlps[1](mlps[0](batch))).mean()
print(f"without gradients {evaluating.peak / 1e6:.1f} MB at the peak")

# %% [markdown]
# ## Once only
#
# What was let go is gone, so a graph can be passed once. minivlm says so rather than compute
# something else:

# %%
loss = mlps[0](batch).mean()
loss.backward()
try:
    loss.backward()
    said = ""
except RuntimeError as error:
    said = str(error)
    print(said)

# %% [markdown]
# ## Change this line and predict
#
# 1. In the slide show, make `x` a leaf: `Tensor(2.0, requires_grad=True)`. Which arrows will be
#    shaded that were not, and how many steps are there then?
# 2. Double the batch to 2048. Which parts of the mountain double, and what stays as it is?
# 3. Replace `"gelu"` by `"quick_gelu"`, or put `mlps[1](mlps[0](batch)) + mlps[0](batch)` into
#    `mlps[2]`. What does the mountain look like?
#
# ## What was claimed

# %%
assert len(graph.tape) == 4
assert abs(w.grad.item() - 2 * once) < 1e-6
assert [line[0] for line in lines] == ["→"] * 21 + ["←"] * 21
assert "normalize.py" in lines[-1]
first, last = (int(line.split(":")[-1]) for line in lines if "← layer_norm" in line)
assert last > first  # the gradient of the weight is written below that of x
assert gradients < everything.moments[-1].held < 1.5 * gradients
all_learn, eye_frozen, language_frozen = (memory.peak for memory in mountains.values())
assert all_learn > 2 * eye_frozen
assert eye_frozen < language_frozen < all_learn
assert steps["first two frozen"] < steps["last two frozen"] == steps["all learn"] == 10
assert evaluating.peak < eye_frozen
assert "freed" in said

# %% [markdown]
# **Next:** [03 · When numbers lie](03_when_numbers_lie.ipynb). The tape is right to the last
# sign, and the numbers on it can still be wrong.

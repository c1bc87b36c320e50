# %% [markdown]
# # 01 · Autograd you can see
#
# **Where does a gradient come from?**
#
# A model is a long formula with many numbers in it, and to learn is to know, for each number, which
# way to push it. This page draws the formula, sends the answer back through it, and finds out why
# the order of the way back matters: in one order it is wrong, in another it takes centuries, and in
# the third it comes by each operation once. The code is
# [`minivlm/tensor.py`](../minivlm/tensor.py), `record` and `Tensor.backward`; the idea is reverse
# accumulation, Linnainmaa 1970, and [Baydin et al. 2015](https://arxiv.org/abs/1502.05767) tell
# its history.

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
from collections import Counter, defaultdict

import numpy as np

from minivlm.tensor import Node, Tensor, reachable, sum_to
from minivlm.viz.graph import watch_graph
from minivlm.viz.style import BLUE, ORANGE, new_figure

# %% [markdown]
# ## A formula is a graph
#
# Take $L = c\,a + c$ with $c = a\,b$. Each operation becomes a box: what it is, its value, and
# arrows from its inputs. Computing goes from left to right, from the leaves (orange), which are the
# numbers that one may push, to what is computed from them (blue).

# %%
a = Tensor(2.0, requires_grad=True)
b = Tensor(-3.0, requires_grad=True)
with watch_graph(a=a, b=b) as graph:
    c = a * b
    loss = c * a + c
graph.name(c=c, L=loss)
graph.draw()

# %% [markdown]
# ## The way back
#
# How fast does $L$ grow when a box grows a little? For the last box the answer is 1: it *is* $L$.
# For any other, ask the boxes that use it: each passes on its own answer, times its local slope,
# and what comes in along several arrows is added. That is the chain rule, and it is all:
#
# $$\frac{\partial L}{\partial x} = \sum_{y \text{ uses } x}
#   \frac{\partial L}{\partial y}\,\frac{\partial y}{\partial x}.$$

# %%
with watch_graph(a=a, b=b) as graph:
    c = a * b
    loss = c * a + c
    loss.backward()
graph.name(c=c, L=loss)
by_tape = a.grad.item(), b.grad.item()
graph.draw()

# %% [markdown]
# The ∂ in each box is the answer. Read the one of $c$: from the sum it gets 1 · 1, from the product
# 1 · 2, for the slope of $c\,a$ along $c$ is $a$; together 3. Check another by moving it: if $a$
# grows by 0.001, does $L$ change by 0.001 times what its box says?

# %%
moved = 2.001
before, after = (2.0 * -3.0) * 2.0 + 2.0 * -3.0, (moved * -3.0) * moved + moved * -3.0
print(f"measured {(after - before) / 0.001:.3f}   by the graph {a.grad.item():.3f}")

# %% [markdown]
# Nearly: 0.001 is little, but it is not *infinitely* little, and on the way the slope changes.
#
# ## An operation knows its own way back, and no more
#
# Here is all that minivlm knows of a product, two lines of `Tensor.__mul__`:
#
# ```python
# a, b = self.data, other.data
# return record(a * b, (self, lambda dy: dy * b), (other, lambda dy: dy * a))
# ```
#
# The value, and for each input a function that turns the gradient of the value into that of the
# input. `record` hangs these functions on a `Node`, each on an edge that leads to its input: to
# the node that computed it or, for a leaf, to the `Tensor` itself. The graph *is* the nodes, and we
# can walk it with our own hands:

# %%
a, b = Tensor(2.0, requires_grad=True), Tensor(-3.0, requires_grad=True)
with watch_graph(a=a, b=b) as graph:
    c = a * b
    loss = c * a + c
graph.name(c=c, L=loss)

called = defaultdict(lambda: "the product", {a: "a", b: "b", c.node: "c", loss.node: "L"})
for node in reachable(loss.node):
    takers = " and ".join(called[edge.targets[0]] for edge in node.edges)
    print(f"{called[node]:11} ({node.name}) passes its gradient on to {takers}")

# %% [markdown]
# ## Two orders, one of them wrong
#
# Now write `backward` ourselves: visit each node once and pass its gradient along its edges. Only
# one thing is left to choose: in what order? We try the order in which a search from $L$ happens
# to find the nodes (that of the lines above), and the reverse of the order in which they were
# computed.

# %%
orders = {
    "as found": list(reachable(loss.node)),
    "newest first": sorted(reachable(loss.node), key=lambda node: -node.birth),
}
gradients = {}
for name, order in orders.items():
    got = defaultdict(float, {loss.node: 1.0})
    for node in order:
        for edge in node.edges:
            got[edge.targets[0]] += edge.vjp(got[node])
    gradients[name] = got[a], got[b]
    print(f"{name:14} ∂a = {got[a]:4.0f}   ∂b = {got[b]:4.0f}")

# %% [markdown]
# They differ! The numbers at the corners tell when each box was visited, first *as found*:

# %%
graph.draw({node: str(turn) for turn, node in enumerate(orders["as found"], 1)})

# %% [markdown]
# $c$ is used twice, by the product and by the sum. It was visited second, when only the sum had
# sent its share; what the product sent later, nobody passed on. And *newest first*:

# %%
graph.draw({node: str(turn) for turn, node in enumerate(orders["newest first"], 1)})

# %% [markdown]
# The rule: **a node may pass its gradient on when all who use it have passed on theirs.** Such an
# order is called topological, and there is always one for free: an input is computed before what
# is computed from it, so *newest first* is one. Each `Node` has a number, `birth`; the
# function `tape` sorts by it, and `Tensor.backward` goes through what it gives, newest first.
#
# ## Recursion: right, and hopeless
#
# There is a third way, the one that the chain rule suggests when one reads it aloud: whenever a
# share arrives at a node, pass *that share* on at once. Nothing is forgotten. But a node that is
# reached in two ways passes on twice, and so does all that lies behind it. Take the smallest graph
# with two ways, $y = x + x$, and stack it.

# %%
x = Tensor(1.0, requires_grad=True)
with watch_graph(x=x) as graph:
    y = x
    for _ in range(4):
        y = y + y

visits, waiting = Counter(), [y.node]
while waiting:
    node = waiting.pop()
    visits[node] += 1
    waiting += [taker for edge in node.edges for taker in edge.targets if isinstance(taker, Node)]
graph.draw({node: f"{count}×" for node, count in visits.items()})

# %% [markdown]
# The number at the corner is how often the recursion comes by. (Compare the loop with `reachable`
# in `tensor.py`: it is the same one, and what it lacks is the set of nodes that it has `seen`.)
# With each layer the work doubles. How far would that go?

# %%
depths = np.arange(1, 16)
recursion, tape = [], []
for depth in depths:
    y = x
    for _ in range(depth):
        y = y + y
    tape.append(len(list(reachable(y.node))))
    visited, waiting = 0, [y.node]
    while waiting:
        node = waiting.pop()
        visited += 1
        waiting += [t for edge in node.edges for t in edge.targets if isinstance(t, Node)]
    recursion.append(visited)

figure = new_figure(6, 3)
axes = figure.subplots()
axes.semilogy(depths, recursion, "o-", color=ORANGE, label="recursion")
axes.semilogy(depths, tape, "s-", color=BLUE, label="newest first")
axes.set(xlabel="additions in a row", ylabel="nodes visited")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
figure

# %% [markdown]
# The scale is logarithmic: the orange line doubles with each addition, the blue one grows by one. A
# residual block is such a diamond: $x + f(x)$ uses $x$ twice. The shipped models are shallow; how
# long would a recursion take through the 64 residual additions of a language model of 32 blocks, at
# a billion visits a second?

# %%
years = 2.0**64 / 1e9 / (365.25 * 86400)
print(f"{years:.0f} years for one step of training; newest first, 64 visits to those additions")

# %% [markdown]
# ## Arrays: a gradient has the shape of its value
#
# So far each box held one number. Let it hold an array, and one more thing can happen: NumPy
# **broadcasts**. A bias of shape (3,) is added to each row of a (2, 3) matrix: used twice, though
# no arrow says so. What is used twice gets two shares, and they are to be added. (In the boxes now
# stand the shape of an array and |·|, its length as a vector. Gray is a constant: nobody wants its
# gradient.)

# %%
x = Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
bias = Tensor([0.1, 0.2, 0.3], requires_grad=True)
with watch_graph(x=x, bias=bias) as graph:
    ((x + bias) * np.array([[1, 10, 100], [2, 20, 200]])).sum().backward()
graph.draw()

# %% [markdown]
# The gradient that arrives at the + has shape (2, 3), that of the bias (3,). Between them stands
# one function, `sum_to`, which adds up along the axes that were repeated. `backward` calls it for
# every edge, so that no operation need think of it.

# %%
arrives = np.array([[1.0, 10, 100], [2, 20, 200]])
print("arrives\n", arrives)
print("sum_to (3,)  ", sum_to(arrives, (3,)))
print("sum_to (2, 1)", sum_to(arrives, (2, 1)).tolist())
print("sum_to ()    ", sum_to(arrives, ()))
print("\nx.grad", x.grad.tolist(), "  bias.grad", bias.grad.tolist())

# %% [markdown]
# ## Change this line and predict
#
# 1. Where we walk the graph with our own hands, swap the summands: `loss = c + c * a`. Is the order
#    *as found* still wrong? (Which of a node's takers does `reachable` visit first?)
# 2. In the count for the curve, replace `y = y + y` by `y = y + y + y`, and 16 by 11, or it takes
#    long. How does the orange line grow now, and why is the blue one steeper, too?
# 3. Give `x` the value `[[1.0, 2.0, 3.0]]` and the bias `[[0.1], [0.2]]`, so that both are
#    broadcast. Which numbers will be in the two gradients?
#
# ## What was claimed

# %%
assert gradients == {"as found": (-9, 2), "newest first": by_tape}
assert by_tape == (-15, 6)
assert abs((after - before) / 0.001 - by_tape[0]) < 0.01
assert recursion == [2**depth - 1 for depth in depths]
assert tape == depths.tolist()
assert sorted(visits.values()) == [1, 2, 4, 8]
assert years > 500
np.testing.assert_array_equal(bias.grad, sum_to(arrives, (3,)))
assert [called[node] for node in orders["as found"]] == ["L", "c", "the product"]

# %% [markdown]
# **Next:** [02 · The tape, step by step](02_the_tape_step_by_step.ipynb) slows the way back down,
# and looks at what it costs.

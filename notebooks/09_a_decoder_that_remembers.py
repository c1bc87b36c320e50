# %% [markdown]
# # 09 · A decoder that remembers
#
# **How does a model write, and what must it remember while it does?**
#
# A language model has one skill: it reads a text and says, for every possible token, how probable
# it is that this one comes next. To write, it is asked, one token is appended, and it is asked
# again. The model is [`minivlm/models/decoder.py`](../minivlm/models/decoder.py), `Decoder`, of
# the kind of [Touvron et al. 2023](https://arxiv.org/abs/2302.13971) (LLaMA); the writing is
# [`minivlm/models/generate.py`](../minivlm/models/generate.py), `generate`; the memory is
# [`minivlm/nn/causal.py`](../minivlm/nn/causal.py), `KeyValues`.

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
import time
from collections import Counter

import numpy as np

from minivlm.data.phrases import describe
from minivlm.data.scenes import SHAPES, sample_scene
from minivlm.models.decoder import Decoder, DecoderConfig
from minivlm.models.generate import Sampling, generate, probabilities
from minivlm.ops.losses import cross_entropy
from minivlm.tensor import no_grad
from minivlm.tokenizers.bpe import BPE
from minivlm.train.loop import train
from minivlm.train.muon import Muon
from minivlm.train.schedule import warmup_cosine
from minivlm.viz.next_token import next_token_bars
from minivlm.viz.strip import attention_strip
from minivlm.viz.style import BLUE, GRAY, ORANGE, new_figure

rng = np.random.default_rng(0)

# %% [markdown]
# ## A small world of words
#
# Descriptions of scenes, made up by the thousand. There are no pictures in this notebook: all
# that the model will ever know is which words follow which.

# %%
texts = [describe(sample_scene(rng)) for _ in range(4000)]
tokenizer = BPE.train(texts[:1000], 400, ("<pad>", "<start>", "<end>"))
names = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
start, end = tokenizer.special("<start>"), tokenizer.special("<end>")
print(texts[0], "\n")
print(" | ".join(names[i] for i in tokenizer.encode(texts[0])))

# %% [markdown]
# ## No looking ahead
#
# A new decoder, with random weights. Its attention is
# [notebook 05](05_attention_by_hand.ipynb)'s, with the scores above the diagonal at −∞: each
# token sees itself and what stands before it. Rows are who looks, columns who is looked at; where
# the weight is exactly 0 the cell is empty.

# %%
config = DecoderConfig(tokenizer.vocab_size, width=48, heads=4, key_heads=4, layers=2, hidden=128)
decoder = Decoder(config, rng)
ids = np.array([[start, *tokenizer.encode("a large red circle at the left")]])
shown = ["<start>", *(names[i].strip() for i in ids[0, 1:])]
maps = decoder.attention_maps(decoder.embed(ids))
weights = maps[0][0, 0]
looks = np.where(weights > 0, weights, -np.inf)
attention_strip([("block 1, head 1, untrained", looks)], rows=shown, columns=shown)

# %% [markdown]
# What is the triangle good for? Change the last word, and see which logits move.

# %%
changed = ids.copy()
changed[0, -1] = tokenizer.encode(" top")[0]
with no_grad():
    moved = np.abs(decoder(changed).data - decoder(ids).data).max(-1)[0]
for word, by in zip(shown, moved, strict=True):
    print(f"{word:8} {by:.4f}")

# %% [markdown]
# Only those at the last place. The prediction at each place is made as if the text ended there.
# So one pass over a text of T tokens is T exercises at once, each with its answer beside it: the
# next token. And it means that **nothing computed for a token has ever to be computed again**
# when more tokens follow. We shall come back to that.
#
# ## A few seconds of school
#
# The loss is the surprise at the true next token,
#
# $$\text{loss} = -\frac{1}{T}\sum_t \log p(x_{t+1} \mid x_1 \dots x_t).$$
#
# Labels are the ids, one place to the left; −100 is what the loss passes over. The loss cannot
# come down to 0, however long the school: which shape follows is drawn at random in this world.

# %%
V, STEPS = tokenizer.vocab_size, 200
encoded = [[start, *tokenizer.encode(text), end] for text in texts]
T = max(map(len, encoded))
rows = np.array([[*each, *[0] * (T - len(each))] for each in encoded])  # padded with <pad>, 0
labels = np.where(rows[:, 1:] == 0, -100, rows[:, 1:])
picked = [rng.integers(len(rows), size=24) for _ in range(STEPS)]
log = list(
    train(
        lambda at: cross_entropy(decoder(rows[at, :-1]).reshape(-1, V), labels[at].reshape(-1)),
        picked,
        Muon(decoder.named_parameters(), lr=0.02, adamw_lr=0.01),
        lambda step: warmup_cosine(step, STEPS),
    )
)
losses = [step.loss for step in log]
print(f"{sum(step.seconds for step in log):.0f} seconds")
print(f"loss before {losses[0]:.2f} (all tokens alike: {np.log(V):.2f}), after {losses[-1]:.2f}")

# %% [markdown]
# ## What comes next?
#
# The bars are the model's, and the black ticks are the world's: how often each word follows in
# twenty thousand new scenes; without a tick, never. (A dot is a space: most tokens begin with
# one.)

# %%
scenes = [sample_scene(rng) for _ in range(20000)]
firsts, pairs = [s.things[0] for s in scenes], [s.things for s in scenes if len(s.things) == 2]
world = [
    Counter("striped" if t.texture == "striped" else t.color for t in firsts if t.size == "large"),
    Counter(thing.shape for thing in firsts if thing.color == "red"),
    Counter(b.shape for a, b in pairs if a.shape == "circle" and b.color == "green"),
]
truth = [{f" {word}": n / count.total() for word, n in count.items()} for count in world]

asked = ["a large", "a large red", "a large red circle at the left and a small green"]
panels = []
for text in asked:
    with no_grad():
        logits = decoder(np.array([[start, *tokenizer.encode(text)]])).data[:, -1]
    panels.append((text, probabilities(logits, Sampling(temperature=1.0))[0]))
next_token_bars(panels, names, truth=truth)

# %% [markdown]
# The first two are close to the world: after a colour comes a shape, and common shapes are more
# probable than rare ones. It has even noticed that squares, common as they are, hardly come in
# red: in this world never, for it holds that pair back. Nobody has told it what a colour is.
#
# The third is the surprise. In this world some shapes keep company: beside a circle there often is
# a star, and beside a heart a ring. The model has noticed. Is it the *circle*, words ago, that it
# goes by? Put another thing in its place, and nothing else.

# %%
star, ring = names.index(" star"), names.index(" ring")
company = {}
for first in ("circle", "heart"):
    text = f"a large red {first} at the left and a small green"
    with no_grad():
        logits = decoder(np.array([[start, *tokenizer.encode(text)]])).data[:, -1]
    company[first] = probabilities(logits, Sampling(temperature=1.0))[0]
    there = Counter(b.shape for a, b in pairs if a.shape == first and b.color == "green")
    print(f"{text} …")
    for word, i in (("star", star), ("ring", ring)):
        print(f"   {word}: model {company[first][i]:.0%}, world {there[word] / there.total():.0%}")

# %% [markdown]
# It is the first thing that it goes by: exchange the circle for a heart, and the star becomes a
# ring. A little less surely than the world would have it, after these few seconds.
#
# So the last place, *green*, must have got word of the circle, and attention is the only way by
# which places hear of each other. Of all heads, here is the one in which *green* looks most at
# *circle*: see its last row.

# %%
ids = np.array([[start, *tokenizer.encode(asked[2])]])
shown = ["<start>", *(names[i].strip() for i in ids[0, 1:])]
heads = np.concatenate([block[0] for block in decoder.attention_maps(decoder.embed(ids))])
best = heads[:, -1, shown.index("circle")].argmax()
title = f"block {best // 4 + 1}, head {best % 4 + 1}"
looks = np.where(heads[best] > 0, heads[best], -np.inf)
attention_strip([(title, looks)], rows=shown, columns=shown)

# %% [markdown]
# ## Writing
#
# Ask, choose, append, ask again. The most probable token each time (temperature 0) always writes
# the same text; drawn from the bars, it is another one each time. A higher temperature flattens
# the bars before the draw.

# %%
written = {}
for temperature in (0.0, 0.0, 1.0, 1.0, 2.0):
    sampling = Sampling(temperature)
    chosen = generate(
        decoder,
        np.array([[start]]),
        max_new_tokens=40,
        stop=[end],
        sampling=sampling,
        rng=rng,
    )
    text = tokenizer.decode([int(token[0]) for token in chosen if token[0] != end])
    written.setdefault(temperature, []).append(text)
    line = "".join(c if c.isprintable() else "?" for c in text[:80]) + "…" * (len(text) > 80)
    print(f"{temperature:.0f}  ", line)

# %% [markdown]
# At 1 it speaks like its world; at 2 improbable tokens have their say and the grammar goes. (The
# odd signs are tokens of single bytes, which stand for no letter when they stand alone.)
#
# ## The memory
#
# To write token 100, must it read the 99 before it once more? Nothing computed for them has
# changed: that was the point of the triangle. And a new token asks earlier ones for two things
# only, their **keys** and their **values**. So each block keeps these, `KeyValues`, and a new
# token costs one row of attention in place of all. Token by token with the memory, or all at
# once without it: are the logits the same?

# %%
ids = rows[:1, : len(encoded[0])]
memory = decoder.new_memory()
with no_grad():
    at_once = decoder(ids).data[0]
    by_token = np.stack(
        [decoder(ids[:, t : t + 1], None, memory).data[0, 0] for t in range(len(ids[0]))]
    )
difference = np.abs(at_once - by_token).max()
print(f"{len(ids[0])} tokens, largest difference of a logit: {difference:.1e}")

# %% [markdown]
# The same numbers, but for the last digits. What does it spare? Here are the milliseconds for
# one more token, with and without.

# %%
long = rng.integers(3, V, (1, 512))
places = np.arange(64, 513, 64)
memory = decoder.new_memory()
remembering, rereading = [], []
with no_grad():
    for t in range(1, 513):
        began = time.perf_counter()
        decoder(long[:, t - 1 : t], None, memory)
        remembering.append(1000 * (time.perf_counter() - began))
        if t in places:
            tries = []
            for _ in range(5):
                began = time.perf_counter()
                decoder.logits(decoder.features(decoder.embed(long[:, :t]))[:, -1])
                tries.append(1000 * (time.perf_counter() - began))
            rereading.append(np.median(tries))
remembered = [np.median(remembering[t - 32 : t]) for t in places]

figure = new_figure(6.4, 2.9)
axes = figure.subplots()
axes.plot(places, rereading, "o-", color=ORANGE, label="reads all again")
axes.plot(places, remembered, "s-", color=BLUE, label="remembers")
axes.set(xlabel="tokens so far", ylabel="ms for one more", ylim=(0, None))
axes.legend(frameon=False)
figure

# %% [markdown]
# Who reads all again pays for every token so far, and for every pair of them in attention: the
# orange line bends upwards. Who remembers pays for one row. That row grows, too, but in a model as
# small as this calling the functions takes longer.
#
# ## What memory costs
#
# Each token leaves a key and a value of C channels, for each of G key heads, in each of L blocks:
#
# $$\text{bytes} = 2 \cdot L \cdot G \cdot C \cdot \text{bytes a number} \cdot T.$$
#
# Let G be smaller than the number of query heads, and several query heads share one key head:
# **grouped queries** ([Ainslie et al. 2023](https://arxiv.org/abs/2305.13245)). We measure it:
# `extend` by nothing returns all that a block remembers.

# %%
nothing = np.zeros((1, 0, config.width // config.heads), np.float32)
held = {}
for groups in (4, 2, 1):
    small = Decoder(DecoderConfig(V, 48, 4, groups, 2, hidden=128), np.random.default_rng(0))
    memory = small.new_memory()
    with no_grad():
        small(long[:, :100], None, memory)
    none = np.repeat(nothing[:, None], groups, 1)
    held[groups] = sum(array.nbytes for part in memory for array in part.extend(none, none))
    formula = 2 * 2 * groups * 12 * 4 * 100
    print(f"query heads 4, key heads {groups}: {held[groups]:,} bytes (formula {formula:,})")

# %% [markdown]
# For a model of 7 billion weights this is no small change. LLaMA's has 32 blocks and 32 heads of
# 128 channels, and its numbers take 2 bytes. The grey line is the weights themselves.

# %%
tokens = 2 ** np.arange(8, 18)
per_token = {G: 2 * 32 * G * 128 * 2 for G in (32, 8, 1)}
figure = new_figure(6.4, 3.1)
axes = figure.subplots()
for (G, each), color, mark in zip(per_token.items(), (ORANGE, BLUE, "black"), "osD", strict=True):
    label = f"{G} key head{'s' * (G > 1)}: {each // 1024} KiB a token"
    axes.loglog(tokens, each * tokens / 2**30, f"{mark}-", color=color, label=label, base=2)
axes.axhline(6.7e9 * 2 / 2**30, color=GRAY, linestyle="--", label="the weights")
marks = 4.0 ** np.arange(-4, 4)
axes.set_yticks(marks, [f"{m:g} GiB" if m >= 1 else f"{1024 * m:g} MiB" for m in marks])
axes.set_xticks(tokens[::2], [f"{count:,}" for count in tokens[::2]])
axes.set(xlabel="tokens remembered", ylabel="memory of one conversation")
axes.legend(frameon=False, fontsize=9)
figure

# %%
reach = {G: int(6.7e9 * 2 / each) for G, each in per_token.items()}
for G, count in reach.items():
    print(f"{G:2} key heads: the memory is as large as the weights after {count:,} tokens")
print(f"a picture of 576 tokens: {576 * per_token[32] / 2**20:.0f} MiB")

# %% [markdown]
# The last line matters for the next notebook: LLaVA-1.5 reads a picture as 576 tokens
# ([Liu et al. 2023](https://arxiv.org/abs/2310.03744)), and every one of them is remembered as
# long as the conversation goes on.
#
# ## Change this line and predict
#
# 1. Set `STEPS = 20`. Which comes first: grammar, the right frequencies, or the
#    company of shapes? Look at the bars and at what is written. Then try 60.
# 2. In the cell that compares the logits, call `decoder.new_memory()` for each token anew. Which
#    logits are still right?
# 3. Change the *first* word where the triangle is tested: `changed[0, 1]`. Which rows move now?
#
# ## What was claimed

# %%
assert moved[:-1].max() < 1e-6 < moved[-1]
np.testing.assert_array_equal(np.triu(maps[0][0, 0], 1), 0)
assert losses[-1] < 0.25 * losses[0]
for (_, p), share in zip(panels[:2], truth[:2], strict=True):
    assert max(abs(p[names.index(word)] - each) for word, each in share.items()) < 0.12
assert company["circle"][star] > 1.5 * panels[1][1][star]
assert company["circle"][star] > 1.5 * company["heart"][star]
assert company["heart"][ring] > 2 * company["circle"][ring]
assert heads[best, -1, shown.index("circle")] > 0.4
assert panels[1][1][names.index(" square")] < 0.05
assert written[0.0][0] == written[0.0][1]
assert written[1.0][0] != written[1.0][1]
assert difference < 1e-4
assert rereading[-1] > 2 * remembered[-1]
assert held == {G: 2 * 2 * G * 12 * 4 * 100 for G in held}
assert reach[8] // reach[32] == 4
assert set(truth[1]) <= {f" {shape}" for shape in SHAPES}

# %% [markdown]
# **Next:** [10 · Wiring LLaVA](10_wiring_llava.ipynb) puts words into such a model that stand in
# no dictionary: patches of a picture.

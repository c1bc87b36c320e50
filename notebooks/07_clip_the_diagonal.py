# %% [markdown]
# # 07 · CLIP: the diagonal
#
# **How can a model learn what "red" looks like if nobody ever points at red?**
#
# From pairs. Show it many pictures, each with a sentence, and ask one thing only: *which sentence
# belongs to which picture?* That is all of CLIP ([Radford et al.
# 2021](https://arxiv.org/abs/2103.00020), figure 3). The code is
# [`minivlm/models/clip.py`](../minivlm/models/clip.py), `CLIP`, and
# [`minivlm/ops/contrastive.py`](../minivlm/ops/contrastive.py), `contrast`. Here you train one,
# in half a minute, and watch it learn; and it does not learn everything at once.

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
from dataclasses import replace
from itertools import product

import numpy as np

from minivlm.data.batches import same_words
from minivlm.data.draw import RGB, draw, make_scenes
from minivlm.data.image import pixels
from minivlm.data.phrases import caption, with_article
from minivlm.data.scenes import COLORS, HELD_OUT, SHAPES, Scene, Thing
from minivlm.ops.contrastive import contrast
from minivlm.recipes.settings import ClipSettings
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.train.loop import train
from minivlm.train.muon import Muon
from minivlm.train.parallel import one_blas_thread
from minivlm.train.schedule import warmup_cosine
from minivlm.viz.curves import training_curves
from minivlm.viz.embedding import joined_points
from minivlm.viz.moments import training_frames
from minivlm.viz.sheets import contact_sheet
from minivlm.viz.similarity import diagonal_means
from minivlm.viz.slides import slideshow
from minivlm.viz.style import BLUE, GRAY, ORANGE, new_figure
from minivlm.viz.temperature import temperature_bars

rng = np.random.default_rng(0)

# %% [markdown]
# ## Pairs
#
# Two thousand scenes of one thing each, and for each a caption that is made up on the spot: it
# says something true and leaves things out, as people do.

# %%
scenes, images = make_scenes(2000, seed=1, things=1)
contact_sheet(images[:3], [caption(scene, rng) for scene in scenes[:3]])

# %% [markdown]
# ## Two towers, one space
#
# A picture tower (a small ViT, see [04](04_from_pixels_to_tokens.ipynb)) and a text tower turn a
# picture and a sentence into one vector each, of length 1. Their dot product, a cosine, says how
# well the two fit. N pictures and N sentences make a matrix of N×N cosines $s_{nm}$, and the loss
# reads each row as a choice: *of these N sentences, which is yours?* And each column: *which
# picture is yours?*
#
# $$L = -\frac{1}{2N}\sum_n \left(\log\frac{e^{s_{nn}/\tau}}{\sum_m e^{s_{nm}/\tau}}
#      + \log\frac{e^{s_{nn}/\tau}}{\sum_m e^{s_{mn}/\tau}}\right)$$
#
# Who guesses among 64 pays log 64 = 4.16 nats a choice. Where two captions of a batch are the
# same words, both are right; `same_words` tells the loss.

# %%
settings = ClipSettings("scenes", steps=450, batch=64, vision_layers=2, text_layers=1)
clip = TrainedCLIP.untrained(settings, [caption(scene, rng) for scene in scenes[:1000]])
print(f"{clip.model.size():,} parameters, a loss of {np.log(settings.batch):.2f} if it guesses")

# %% [markdown]
# ## An exam of 64 pictures
#
# So that we see *what* is learnt, the 64 pictures of the exam differ in colour and shape and in
# hardly anything else: the same place, the same size, the same background. Their order is by
# colour, and within a colour by shape. These eight of the 64 pairs are in no training picture at
# all:

# %%
print(", ".join(f"{color} {shape}" for color, shape in sorted(HELD_OUT)))
pairs: list[tuple[str, str]] = list(product(COLORS, SHAPES))
sentences = [with_article(f"{color} {shape}") for color, shape in pairs]
thing = Thing("", "", size="large", texture="solid", cell=4, x=0.5, y=0.5, radius=0.155)
exam = np.stack(
    [draw(Scene((replace(thing, color=c, shape=s),), "gray"), 48, rng) for c, s in pairs]
)

figure = new_figure(4.6, 4.4)
figure.palette = True  # of 256 colours
axes = figure.subplots()
sheet = exam.reshape(8, 8, 48, 48, 3)[..., 12:36, 12:36, :]  # the middles, row by row
axes.imshow(sheet.swapaxes(1, 2).reshape(192, 192, 3), interpolation="none")
axes.set_xticks(range(12, 192, 24), SHAPES, rotation=90)
axes.set_yticks(range(12, 192, 24), COLORS)
axes.tick_params(length=0)
figure

# %% [markdown]
# ## Training
#
# The loop is a generator: it takes a step each time that it is asked for one, and we stand beside
# it and take notes. At thirteen moments we keep what the towers make of the exam.

# %%
picks = [rng.choice(2000, settings.batch, replace=False) for _ in range(settings.steps)]
batches = ((images[pick], [caption(scenes[i], rng) for i in pick]) for pick in picks)
optimizer = Muon(clip.model.named_parameters(), lr=settings.lr)
steps = train(
    lambda batch: clip.model.loss(pixels(batch[0]), clip.ids(batch[1]), same_words(batch[1])),
    batches,
    optimizer,
    lambda step: warmup_cosine(step, settings.steps),
    after_step=clip.model.clamp_scale,
)

noted = (10, 20, 35, 50, 75, 100, 125, 150, 200, 250, 350, settings.steps)
kept = {0: (clip.image_embeddings(exam), clip.text_embeddings(sentences))}
log = []
with one_blas_thread():  # on products as small as these, threads would mostly wait
    for step in steps:
        temperature = clip.model.temperature()
        log.append({"number": step.number, "loss": step.loss, "temperature": temperature})
        if step.number + 1 in noted:
            kept[step.number + 1] = clip.image_embeddings(exam), clip.text_embeddings(sentences)
moments = [(step, image @ text.T) for step, (image, text) in kept.items()]
training_curves(log, guessing=np.log(settings.batch))

# %% [markdown]
# It starts *worse* than guessing: random towers have opinions, and wrong ones. (What the curve on
# the right is about, the end of this page will tell.)
#
# ## The diagonal lights up, but not at once
#
# Each row is a picture, each column a sentence, and each small square of 8×8 is one colour
# against another. Above a matrix stand the mean cosine of the 64 pairs, which is its diagonal,
# and that of all others; the dot below says how far the training had come. In a live notebook
# you can pull the slider through all thirteen moments, or let it play. A page that is only read
# shows four of them.

# %%
losses = [line["loss"] for line in log]
slideshow(training_frames(moments, COLORS, losses, guessing=np.log(settings.batch)), most=4)

# %% [markdown]
# First there are stripes: all pictures look the same to an untrained tower. Then come
# **squares**: the model knows the colour and has hardly an idea of the shape, so a picture of a
# red star fits all eight red things. (It even knows which colours are alike: yellow and orange,
# blue and purple.) Only then does each square split into a diagonal of its own; and look at the
# faint diagonals in all other squares: same shape, another colour. The matrix has become a table
# of two independent things.
#
# Nobody taught colours first. But colour is the easier to see, and to know it is to win most of
# the game; what is left to win teaches the rest. Of the 64 sentences, which does each picture
# choose?

# %%
number = np.arange(64)
said = {step: cosines.argmax(1) for step, cosines in moments}
colors = {step: np.mean(chosen // 8 == number // 8) for step, chosen in said.items()}
shapes = {step: np.mean(chosen % 8 == number % 8) for step, chosen in said.items()}
unseen = np.array([pair in HELD_OUT for pair in pairs])
for step in (0, 50, 150, settings.steps):
    chosen = said[step]
    print(f"step {step:3}: colour {colors[step]:4.0%}, shape {shapes[step]:4.0%}", end=", ")
    print(f"both {np.mean(chosen == number):4.0%}", end=", ")
    print(f"both of the unseen pairs {np.mean((chosen == number)[unseen]):4.0%}")

# %% [markdown]
# Read the last column. Those pairs of colour and shape were never seen together, and most of them
# are named all the same. What was learnt is not 56 pictures by heart but colour and shape, apart.
#
# ## One space
#
# Nine of those pictures and their sentences as points, each in its colour. A space of 64
# dimensions is squeezed into two here, by taking the directions in which its points differ most;
# each pair is joined by a line.

# %%
ends = (0, settings.steps)
nine = product(("red", "blue", "yellow"), ("circle", "triangle", "heart"))
shown = [pairs.index(pair) for pair in nine]
inks = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (RGB[pairs[i][0]] for i in shown)]
joined_points(
    [(f"after {step} steps", kept[step][0][shown], kept[step][1][shown]) for step in ends],
    labels=[" ".join(pairs[i]) for i in shown],
    colors=inks,
)

# %% [markdown]
# Before: all pictures on one spot, all sentences far away, and no colour means anything. Two
# random towers have nothing to say to each other. After: a pair stands together, and to go from
# *triangle* to *heart* is nearly the same walk in every colour.
#
# If that is so, one can calculate with it. Take the vector of a red heart's picture, subtract the
# mean of all red pictures, and add the mean of all blue ones. Which of the 64 sentences is nearest
# now: *a blue heart*? We try it with every picture and each of the seven other colours.

# %%
lands = {}
for step in ends:
    image, text = kept[step]
    means = image.reshape(8, 8, -1).mean(1)  # of each colour's eight pictures
    recolored = image.reshape(8, 1, 8, -1) - means[:, None, None] + means[:, None]
    nearest = (recolored @ text.T).argmax(-1)  # (from colour, to colour, shape)
    hits = nearest == np.arange(64).reshape(8, 8)
    lands[step] = hits[~np.eye(8, dtype=bool)].mean()
    print(f"after {step:3} steps it is the right one in {lands[step]:.0%} of 448 cases")

# %% [markdown]
# Nothing in the loss speaks of neighbours or of directions; they came as a gift.
#
# One thing did not go away. How far apart are the *middle* of the pictures and the middle of the
# sentences? In large CLIPs a gap between the two remains for good ([Liang et al.
# 2022](https://arxiv.org/abs/2203.02053)). Here it gets smaller, and remains, too:

# %%
gap = {step: np.linalg.norm(kept[step][0].mean(0) - kept[step][1].mean(0)) for step in ends}
print(f"gap before {gap[0]:.2f}, after {gap[settings.steps]:.2f}")

# %% [markdown]
# ## What the temperature does
#
# Cosines lie between −1 and 1, and a softmax of such numbers is nearly flat: among 64 choices,
# even a perfect cosine of 1 against zeros would get a small share.

# %%
print(f"e / (e + 63) = {np.e / (np.e + 63):.3f}")

# %% [markdown]
# So cosines are divided by a **temperature** τ, which the model learns along with its weights
# (`CLIP.log_scale` is log 1/τ, and its curve stood beside that of the loss). Here is one picture
# with its own sentence (orange) and the seven others that are nearest, and the share of each
# among these eight.

# %%
cosines = moments[-1][1]
row = pairs.index(("yellow", "diamond"))
nearest = [row, *(i for i in np.argsort(-cosines[row]) if i != row)][:8]
learnt = clip.model.temperature()
temperature_bars(
    cosines[row, nearest],
    [sentences[i] for i in nearest],
    temperatures=[1.0, learnt, 0.005],
    right=0,
)

# %% [markdown]
# Hot, and every sentence is nearly as good as any other. Cold, and the nearest takes all, right
# or wrong.
#
# The temperature also decides *who is pushed*. A sentence that does not belong here is pushed
# away with a force that is its share (in `contrast_backward`: `exp(log_p) - to_text`). With a
# cold softmax only the likeliest confusions feel it ([Wang and Liu
# 2021](https://arxiv.org/abs/2012.09740)).

# %%
pushed = {}
for tau in (1.0, learnt, 0.005):
    odds = np.exp((cosines[row] - cosines[row].max()) / tau)
    share = odds / odds.sum()
    pushed[tau] = int((np.delete(share, row) > 0.001).sum())
    print(f"τ = {tau:.3f}: {pushed[tau]:2} of 63 wrong sentences get more than a thousandth")

# %% [markdown]
# Is the temperature that it learnt a good one? Freeze the towers, take 64 fresh scenes with
# captions of the kind that it trained on, and try them all.

# %%
fresh, fresh_images = make_scenes(64, seed=2, things=1)
words = [caption(scene, rng) for scene in fresh]
image, text = clip.image_embeddings(fresh_images), clip.text_embeddings(words)
taus = np.geomspace(0.005, 1, 60)
losses = [float(contrast(image, text, 1 / tau, same_words(words))[0]) for tau in taus]
best = taus[np.argmin(losses)]
figure = new_figure(6.4, 2.8)
axes = figure.subplots()
axes.semilogx(taus, losses, color=BLUE)
axes.axhline(np.log(64), color=GRAY, linestyle="--", label="guessing: 4.16")
axes.axvline(learnt, color=ORANGE, label=f"learnt: {learnt:.3f}")
axes.plot(best, min(losses), "o", color=BLUE, label=f"best here: {best:.3f}")
axes.set(xlabel="temperature", ylabel="nats a choice", ylim=(0, None))
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# The valley is wide, and the learnt value stands in it. To the right every sentence gets nearly
# the same share; to the left every mistake is made with full confidence, and costs accordingly.
#
# ## Change this line and predict
#
# 1. In `make_scenes(2000, seed=1, things=1)` write `200` for `2000` (and in `rng.choice`
#    likewise). Which number in the table's last row suffers most: colour, shape, or the unseen
#    pairs?
# 2. Set `batch=16`. A choice among sixteen is easier. Does the model learn the shapes sooner, or
#    later, or not at all?
# 3. After `clip = …`, put `clip.model.log_scale.data[...] = 0`, a temperature of 1 at the start.
#    What does the curve of the temperature do, when do the squares appear, and do they ever split?
#
# ## What was claimed

# %%
last = settings.steps
assert not any((t.color, t.shape) in HELD_OUT for scene in scenes for t in scene.things)
assert len(HELD_OUT) == unseen.sum() == 8
assert len(moments) == 13
assert log[0]["loss"] > np.log(64) > log[-1]["loss"] * 4
assert colors[50] > 0.8 > 0.4 > shapes[50]  # colours first
assert shapes[last] > 0.8
same, other = diagonal_means(moments[-1][1])
assert same > other + 0.5
assert np.mean((said[last] == number)[unseen]) >= 0.5
alike = moments[4][1].reshape(8, 8, 8, 8).mean((1, 3))  # after 50 steps, colour by colour
for one, another in (("yellow", "orange"), ("blue", "purple")):
    assert alike[COLORS.index(one), COLORS.index(another)] > 0.2
assert lands[0] < 0.2
assert lands[last] > 0.8
assert 0.1 < gap[last] < gap[0] / 2
assert pushed[1.0] > pushed[learnt] > pushed[0.005]
assert best / 2.5 < learnt < best * 2.5

# %% [markdown]
# **Next:** [08 · Zero-shot and its failures](08_zero_shot_and_its_failures.ipynb) takes a CLIP
# that trained for longer, and finds out what it can do, and what it cannot.

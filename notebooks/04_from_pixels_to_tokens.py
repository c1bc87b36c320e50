# %% [markdown]
# # 04 · From pixels to tokens
#
# **How does a picture become a sentence?**
#
# A transformer reads a row of vectors. Words come in a row; pixels do not. The answer of
# [Dosovitskiy et al. 2020](https://arxiv.org/abs/2010.11929) is in its title, *An image is worth
# 16×16 words*: cut the picture into squares, call each square a word, and say of each where it
# stood. The code is [`minivlm/ops/convolve.py`](../minivlm/ops/convolve.py), `patches`, and
# [`minivlm/models/vit.py`](../minivlm/models/vit.py), `ViT.embed`:
#
# $$z_n = W\,x_n + p_n, \qquad n = 0 \dots N-1.$$
#
# At the end you will have caught a trained eye at something that you would not have guessed.

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
import copy
from itertools import product

import numpy as np

from minivlm.data.draw import make_scenes
from minivlm.data.image import PLAIN_MEAN, PLAIN_STD, pixels
from minivlm.data.phrases import describe, with_article
from minivlm.data.scenes import COLORS, PLACES, SHAPES
from minivlm.evaluate.zero_shot import class_embeddings, predict
from minivlm.ops.convolve import conv2d, patches
from minivlm.ops.linear import linear
from minivlm.recipes.pretrained import PRETRAINED_CLIP
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.tensor import Tensor
from minivlm.viz.patches import patch_grid, position_similarity, shuffled
from minivlm.viz.sheets import contact_sheet
from minivlm.viz.style import BLUE, GRAY, ORANGE, new_figure, wrapped

rng = np.random.default_rng(0)

# %% [markdown]
# ## Cut
#
# A scene of 48×48 pixels, and the same scene as the transformer gets it: 36 squares of 8×8, read
# like a page, from the top left.

# %%
scenes, images = make_scenes(4, seed=7)
print(wrapped(describe(scenes[3]), 90, 3))
patch_grid(images[3], patch=8)

# %% [markdown]
# Nothing is computed here and nothing is lost: numbers only change places. Each square becomes
# one vector, all of its red, then all of its green, then all of its blue.

# %%
picture = Tensor(pixels(images[3:4]), requires_grad=True)  # (1, 3, 48, 48)
squares = patches(picture, 8)  # (1, 36, 192)
print(f"{picture.shape} has {picture.data.size} numbers, {squares.shape} has {squares.data.size}")

# %% [markdown]
# ## The way back is glue
#
# What is the gradient of cutting? If the loss wants a number in square 14 to grow, it wants *that
# pixel* to grow. So the gradient of the squares, glued together in the order in which they were
# cut, is the gradient of the picture. Open `patches`: its `patches_dx` is the same two lines,
# backwards.
#
# We can see it. Take as a loss the sum of all numbers, each times a weight of our choice: its
# gradient with respect to the squares is those weights. As weights we choose the squares of
# *another* picture, and so the gradient that arrives at the pixels has to be that other picture.

# %%
other = Tensor(pixels(images[1:2]))
(squares * patches(other, 8)).sum().backward()
assert picture.grad is not None
shares = picture.grad[0].transpose(1, 2, 0) * PLAIN_STD + PLAIN_MEAN  # undoes `pixels`
as_bytes = (255 * shares).round().astype(np.uint8)
contact_sheet(np.stack([images[3], as_bytes]), ["a picture", "the gradient that it gets"])

# %% [markdown]
# ## One matrix, or: a convolution that never looks twice
#
# Each square's 192 numbers are multiplied by one matrix W, the same for all squares, and come out
# as a vector as wide as the transformer. The weights are stored as a convolution's kernel,
# because that is what this is: a kernel of 8×8 that moves by 8, so that its windows do not
# overlap.

# %%
clip = TrainedCLIP.load(PRETRAINED_CLIP)  # the small CLIP that comes with minivlm
eye = clip.model.vision
W = eye.patch_weight  # (64, 3, 8, 8)
tokens = linear(squares, W.reshape(64, -1))  # (1, 36, 64)
swept = conv2d(picture, W, stride=8)  # (1, 64, 6, 6)
difference = np.abs(swept.data.reshape(64, 36).T - tokens.data[0]).max()
print(f"largest difference between the two: {difference:.0e}")

# %% [markdown]
# ## Without positions: a set
#
# Attention compares every token with every other and never asks which came first (see
# [05](05_attention_by_hand.ipynb)). The rest of a block works on each token by itself. So a
# transformer without positions cannot know the order of its tokens: permute what goes in, and
# what comes out is permuted, nothing else. This eye reads off the *mean* of its tokens, which
# then does not change at all, but for rounding.
#
# We show the trained eye a picture whose squares stand in a random order, once as it is and once
# with its positions set to 0.

# %%
order = rng.permutation(36)
torn = pixels(shuffled(images[3:4], 8, order))
blind = copy.deepcopy(eye)
blind.positions.data[:] = 0
moved = np.abs(blind(torn).data - blind(picture).data).max()
moved_with = np.abs(eye(torn).data - eye(picture).data).max()
print(f"features of the torn picture differ by {moved_with:.1f} at most with positions", end=", ")
print(f"by {moved:.0e} without")

# %% [markdown]
# ## With positions: what did it learn about places?
#
# So each place has a vector of its own, added to whatever square stands there. It starts at
# random and is learnt like every other weight. Nobody says that place 7 is below place 1; if that
# matters, the vectors have to find out.
#
# Compare each with all others. Every small map below is one place, the framed one, and the colours
# are the cosines of its vector with those of the 36 places.

# %%
position_similarity(eye.positions.data)

# %% [markdown]
# In a transformer that was trained on photographs, such maps show a bright spot around the place
# itself, and its row and column: neighbours become alike (figure 7 of the paper). **Not here.**
# Here each place resembles the places *two steps* away, and not its neighbours: a chessboard with
# four colours.
#
# Why? Here is a guess. Our things stand on a grid of 3×3 cells, so a cell is 2×2 patches, and
# each thing is cut into its four quarters. What is worth knowing about a place is then less where
# it is than *which quarter of a thing* would be seen there: top left, top right, bottom left,
# bottom right.

# %%
P = eye.positions.data
unit = P / np.linalg.norm(P, axis=1, keepdims=True)
cosines = unit @ unit.T
rows, columns = np.divmod(np.arange(36), 6)
down, across = abs(rows[:, None] - rows), abs(columns[:, None] - columns)
same_quarter = (down % 2 == 0) & (across % 2 == 0) & (down + across > 0)
neighbours = down + across == 1
print(f"cosine of places of the same quarter {cosines[same_quarter].mean():+.2f}")
print(f"cosine of neighbours                 {cosines[neighbours].mean():+.2f}")

# %% [markdown]
# ## How much do positions matter to it?
#
# A test. The eye names 400 new pictures of one thing each, among 64 names ("a red circle", …).
# Then we cut every picture into its 36 squares and **shuffle** them: whatever was a circle is now
# shreds all over. And then, from the whole pictures again, we **shift** each by a few pixels (what
# leaves at the right comes in again at the left): to you and me, hardly anything happens.
#
# Before you read on: which of the two will hurt?

# %%
test_scenes, test = make_scenes(400, seed=11, things=1)
pairs: list[tuple[str, str]] = list(product(COLORS, SHAPES))
names = [with_article(f"{color} {shape}") for color, shape in pairs]
classes = class_embeddings(clip.text_embeddings, names)
right = [pairs.index((s.things[0].color, s.things[0].shape)) for s in test_scenes]

shreds_of = shuffled(test, 8, order)
whole = np.mean(predict(clip.image_embeddings(test), classes) == right)
shreds = np.mean(predict(clip.image_embeddings(shreds_of), classes) == right)
clip.model.vision = blind  # the copy without positions, for one measurement
placeless = np.mean(predict(clip.image_embeddings(test), classes) == right)
clip.model.vision = eye
shifts = list(range(9))
shifted = [
    np.mean(predict(clip.image_embeddings(np.roll(test, shift, axis=2)), classes) == right)
    for shift in shifts
]
print(f"named rightly: whole {whole:.1%}, shuffled {shreds:.1%}, without positions {placeless:.1%}")
print(f"shifted by 4 pixels {shifted[4]:.1%}")

# %%
figure = new_figure(9, 3.1)
left, graph = figure.subplots(1, 2, width_ratios=[1.1, 1])
gap = np.full((48, 4, 3), 255)
seen = next(i for i, scene in enumerate(test_scenes) if scene.things[0].place == "center")
rolled = np.roll(test[seen], 4, axis=1)
left.imshow(np.hstack([test[seen], gap, shreds_of[seen], gap, rolled]))
left.set_axis_off()
left.set_title("whole, shuffled, shifted by 4")
graph.plot(shifts, shifted, "o-", color=BLUE, label="shifted")
graph.axhline(shreds, color=ORANGE, label="shuffled")
graph.axhline(1 / 64, color=GRAY, linestyle="--", label="guessing")
graph.set(xlabel="pixels to the right", ylabel="named rightly", ylim=(0, 1.05))
graph.legend(frameon=False)
graph.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# The shuffled pictures it names as well as the whole ones, and it does so even without any
# positions. A shift by half a patch ruins it, and one by a whole patch mends it again.
#
# So this eye has learnt **words, not drawings**. It knows the shreds: the tip of a star on a
# patch's lower edge is a word of its vocabulary, and a bag of such words is enough to know what
# they were torn from. Shift the picture by four pixels and every patch holds a shred that it has
# hardly ever seen, in a language that it does not speak. [Brendel and Bethge
# 2019](https://arxiv.org/abs/1904.00760) found much the same of networks for photographs: bags of
# local features go a surprisingly long way.
#
# What does it have positions for, then? Some captions tell a place. So ask it for the place: of
# *a red circle at the top left*, *… at the top* and so on, nine sentences, which fits best?

# %%
says = [f"{names[i]} at the {place}" for i in right for place in PLACES]
told = clip.text_embeddings(says).reshape(len(test), 9, -1)
cells = np.array([scene.things[0].cell for scene in test_scenes])
placed = {}
for name, tower in (("with", eye), ("without", blind)):
    clip.model.vision = tower
    fits = np.einsum("nd,npd->np", clip.image_embeddings(test), told)
    placed[name] = np.mean(fits.argmax(1) == cells)
    print(f"{name:7} positions, the right one of nine places in {placed[name]:.0%}")
clip.model.vision = eye

# %% [markdown]
# With them it does better than guessing, which gets one in nine; good at it, it is not.
#
# Words without a drawing are no law of transformers. They are what *these data* ask for: things
# stand almost still in their cells, no two shapes share all shreds, and most captions tell no
# place ([`caption`](../minivlm/data/phrases.py) draws when). A model learns what its data reward.
#
# ## How many words?
#
# Half the patch side is four times the tokens, and every token looks at every token: sixteen times
# the scores. (The last two have a class token besides, not counted here.)

# %%
for side, patch, who in (
    (48, 16, ""),
    (48, 8, "this eye"),
    (48, 4, ""),
    (224, 16, "ViT-B/16"),
    (336, 14, "the eye of LLaVA-1.5"),
):
    N = (side // patch) ** 2
    print(f"{side:3}px / {patch:2}: {N:4} tokens, {N * N:7,} scores a head  {who}".rstrip())

# %% [markdown]
# ## Change this line and predict
#
# 1. In `np.roll(test, shift, axis=2)` write `axis=(1, 2)`, which shifts down as well. Will half a
#    patch in both directions be worse than in one?
# 2. For `shreds_of`, shuffle squares that are smaller than a patch:
#    `shuffled(test, 4, rng.permutation(144))`. And larger ones: `16` and `9`?
# 3. In the call of `position_similarity`, replace `eye` by a newborn one,
#    `TrainedCLIP.untrained(clip.settings, ["a"]).model.vision`. What is left of the pattern?
#
# ## What was claimed

# %%
assert squares.shape == (1, 36, 192)
np.testing.assert_array_equal(picture.grad, other.data)
np.testing.assert_array_equal(as_bytes, images[1])
assert difference < 1e-4
assert moved < 1e-3 < 0.1 < moved_with
assert cosines[same_quarter].mean() > 0.2
assert cosines[neighbours].mean() < 0
assert whole > 0.95
assert min(shreds, placeless) > whole - 0.03
assert shifted[4] < 0.2
assert shifted[8] > 0.95
assert placed["with"] > 2 * placed["without"]
assert placed["with"] < 0.6

# %% [markdown]
# **Next:** [05 · Attention by hand](05_attention_by_hand.ipynb): what the tokens do with each
# other.

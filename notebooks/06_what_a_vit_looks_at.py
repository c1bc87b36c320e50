# %% [markdown]
# # 06 · What a ViT looks at
#
# **Where does an eye look, and does that tell us why it answers as it does?**
#
# In [05](05_attention_by_hand.ipynb) attention was a small matrix. In a vision transformer it has
# a row for each patch of a picture, and so it can be laid over the picture: bright where the eye
# looks. Such overlays are lovely, and they are in many papers. Here we look, and then check what
# the looking is worth. The code is [`minivlm/models/vit.py`](../minivlm/models/vit.py),
# `ViT.attention_maps`, and [`minivlm/viz/heads.py`](../minivlm/viz/heads.py), `rollout`.

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
from itertools import product

import numpy as np

from minivlm.data.draw import make_scenes
from minivlm.data.image import pixels
from minivlm.data.phrases import describe, name_of, with_article
from minivlm.data.scenes import COLORS, SHAPES
from minivlm.evaluate.zero_shot import class_embeddings, predict
from minivlm.ops.normalize import unit_length
from minivlm.recipes.pretrained import PRETRAINED_CLIP
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.tensor import Tensor, no_grad
from minivlm.viz.heads import head_overlays, map_overlays, rollout
from minivlm.viz.occlusion import occlusion
from minivlm.viz.patches import patches_of_things
from minivlm.viz.style import wrapped

clip = TrainedCLIP.load(PRETRAINED_CLIP)  # the small CLIP that comes with minivlm
eye = clip.model.vision
print(f"{eye.config.layers} layers of {eye.config.heads} heads, {eye.config.patches} patches")

# %% [markdown]
# ## Look over its shoulder
#
# One scene with three things. Each layer has two heads, and in each head every patch hands out
# 100 % of attention. We show the mean over all 36 patches that look, for this eye reads off the
# mean of its patches. In each panel dark blue is nothing, and yellow is that panel's largest share,
# which stands above it. (Of the last column, below.)

# %%
scenes, images = make_scenes(12, seed=7)
print(wrapped(describe(scenes[0]), 90, 3))
maps = [layer[0] for layer in eye.attention_maps(pixels(images[:1]))]  # of each layer (H, 36, 36)
head_overlays(images[0], maps)

# %% [markdown]
# Layer 1 looks everywhere, and rather past the things than at them. From layer 2 on most of the
# attention goes to the things. Nobody ever pointed at one; the eye was told which caption fits.
#
# ## One patch asks
#
# The patch framed in white shows nothing but background. Where does *it* look?

# %%
head_overlays(images[0], maps, token=4)

# %% [markdown]
# In layers 2 and 3, at the things as well. It has nothing to tell of its own.
#
# The last column is the **rollout** ([Abnar and Zuidema 2020](https://arxiv.org/abs/2005.00928)).
# A layer is not alone: what a patch fetches in layer 3 was itself fetched in layer 2. So multiply
# the layers, each as half attention (the mean $\bar A_\ell$ of its heads) and half "stay what you
# were", which is the residual path:
#
# $$R_\ell = \left(\tfrac12 \bar A_\ell + \tfrac12 I\right) R_{\ell-1}, \qquad R_0 = I.$$
#
# For one patch the brightest of its rollout is therefore itself.
#
# ## From looking to counting
#
# One picture proves nothing. Take 300 pictures of one thing each. Which of their 36 patches may
# the thing touch? `patches_of_things` knows, for the scene is known. If attention did not care,
# the things would get as large a share of it as they have of the area.

# %%
one, one_images = make_scenes(300, seed=11, things=1)
covered = np.array([patches_of_things(scene, 6).ravel() for scene in one])  # (300, 36)
area = covered.mean()
newborn = TrainedCLIP.untrained(clip.settings, ["a"]).model.vision
looks = {"untrained": newborn.attention_maps(pixels(one_images))}
looks["trained"] = eye.attention_maps(pixels(one_images))
share = {
    name: [(layer.mean((1, 2)) * covered).sum(1).mean() for layer in layers]
    for name, layers in looks.items()
}
print(f"things have {area:.0%} of the area, and of attention")
for name, of_layers in share.items():
    print(f"  {name:9}", ", ".join(f"layer {i}: {x:.0%}" for i, x in enumerate(of_layers, 1)))

# %% [markdown]
# Before training attention hardly cares. After it, layer 1 looks a little past the things, and the
# layers behind it give them four fifths of their attention and more.
#
# ## What an empty patch knows
#
# Now a trick question. We let the eye name the picture, but from a mean over *only those patches
# that show nothing of the thing*. Layer by layer: after layer 0 a patch is what its pixels were,
# after layer 3 it is what it has become. Guessing gets one in eight.

# %%
pairs: list[tuple[str, str]] = list(product(COLORS, SHAPES))
names = [with_article(f"{color} {shape}") for color, shape in pairs]
classes = class_embeddings(clip.text_embeddings, names)
right = np.array([pairs.index((s.things[0].color, s.things[0].shape)) for s in one])
knows = []
with no_grad():
    for depth, state in enumerate(eye.hidden_states(pixels(one_images))):
        empty = ~covered[..., None]
        mean = Tensor((state.data * empty).sum(1) / empty.sum(1))
        embedded = unit_length(clip.model.image_projection(eye.post_norm(mean))).data
        said = predict(embedded, classes)
        knows.append((np.mean(said // 8 == right // 8), np.mean(said % 8 == right % 8)))
        print(f"after layer {depth}: colour {knows[-1][0]:4.0%}, shape {knows[-1][1]:4.0%}")

# %% [markdown]
# At the end the patches that never saw the thing name its shape nearly always, and its colour far
# above chance. **The emptiness has been told.** That is what all those bright overlays are: not
# the eye enjoying the view, but messages being fetched, so that the mean over all patches, most
# of them empty, becomes a statement about the thing.
#
# It has a price for us. Already after layer 2 a patch is more than the place that it was cut from,
# and "layer 3 looks at patch 17" does not mean "it looks at what is *drawn* in patch 17".
#
# ## Does it say why?
#
# Does the answer depend on what the eye looks at? There is a direct way to ask ([Zeiler and
# Fergus 2013](https://arxiv.org/abs/1311.2901)): cover a patch with the background's colour and
# see how far the cosine with the right sentence falls. 36 patches, 36 trials, for each of the
# first eighty pictures.

# %%
sentences = clip.text_embeddings([name_of(scene.things[0]) for scene in one])
last = looks["trained"][-1].mean((1, 2))  # (300, 36)
rolled = np.array([rollout([layer[i] for layer in looks["trained"]]).mean(0) for i in range(300)])
falls = np.array(
    [
        occlusion(lambda x, i=i: clip.image_embeddings(x) @ sentences[i], one_images[i], 8).ravel()
        for i in range(80)
    ]
)
views = {"attention, layer 3": last[:80], "rollout": rolled[:80], "covered: cosine falls": falls}
top = {name: view.argmax(1) for name, view in views.items()}  # the brightest patch of each
agrees = top["attention, layer 3"] == top["covered: cosine falls"]

# %%
i = np.flatnonzero(agrees)[3]
map_overlays(one_images[i], [(name, view[i].clip(0).reshape(6, 6)) for name, view in views.items()])

# %% [markdown]
# Each map has its own scale again, and the last shows where covering hurts. Here attention and the
# trial name the same patch as the most important. And here is, of eighty pictures, the one in which
# they differ most.

# %%
harm = falls[np.arange(80), top["attention, layer 3"]] / falls.max(1)
i = harm.argmin()
map_overlays(one_images[i], [(name, view[i].clip(0).reshape(6, 6)) for name, view in views.items()])

# %%
looked_at, matters = -falls[i, top["attention, layer 3"][i]], -falls[i].max()
print(f"covering the patch most looked at moves the cosine by {looked_at:+.2f},")
print(f"covering the one that matters most by {matters:+.2f}")

# %% [markdown]
# Over all eighty:

# %%
on_thing = {name: np.mean([covered[i, k] for i, k in enumerate(top[name])]) for name in top}
hits = {name: np.mean(top[name] == top["covered: cosine falls"]) for name in top}
guess = np.mean(1 / covered[:80].sum(1))
print("how often the brightest patch …    lies on the thing    is the one that matters most")
for name in ("attention, layer 3", "rollout"):
    print(f"  {name:30} {on_thing[name]:10.0%} {hits[name]:24.0%}")
print(f"  {'any patch of the thing':30} {1:10.0%} {guess:24.0%}")

# %% [markdown]
# So, in this eye: all maps agree *where the thing is*. Ask *which part of it* decided, and the
# last layer's attention is right more often than not, but far from always; the rollout, which is
# made to be the better account, is hardly better than a blind guess among the thing's patches. A
# likely reason: it adds up every way by which something could have come, whether it mattered or
# not.
#
# An overlay is a picture of where messages are fetched. It is evidence of what an answer rests
# on, not proof ([Jain and Wallace 2019](https://arxiv.org/abs/1902.10186) found much the same for
# words). If you want to know, cover it and see.
#
# ## Change this line and predict
#
# 1. In the second overlay, `token=4` asks from an empty place. Ask from the circle, `token=14`.
#    Will a patch of the circle look at its own circle or at the other things?
# 2. Show the overlays of the untrained eye: after the cell that makes `newborn`, call
#    `head_overlays(images[0], [m[0] for m in newborn.attention_maps(pixels(images[:1]))])`.
#    36 equal shares would be 3 % each. How near to that is its "most", and do things stand out?
# 3. In "what an empty patch knows", put `empty = covered[..., None]`, so that only patches *of* the
#    thing are asked. Colour or shape, which is known first now? And why do even these know so
#    little after layer 0, though the colour is *there* from the beginning? (For what was the
#    projection trained?)
#
# ## What was claimed

# %%
for layer in maps:
    np.testing.assert_allclose(layer.sum(-1), 1, rtol=1e-5)
assert share["trained"][0] < area + 0.02
assert min(share["trained"][1:]) > 3 * area
assert max(share["untrained"]) < 1.5 * area
assert max(knows[0]) < 0.2  # what the empty patches do not see
assert knows[-1][0] > 0.4  # and are told
assert knows[-1][1] > 0.8
assert harm[i] < 0.5
assert knows[2][1] > 0.3  # already after layer 2
assert min(on_thing.values()) > 0.95
assert hits["attention, layer 3"] > 2 * guess
assert hits["rollout"] < 2 * guess

# %% [markdown]
# **Next:** [07 · CLIP: the diagonal](07_clip_the_diagonal.ipynb) trains such an eye, from
# nothing, while you watch.

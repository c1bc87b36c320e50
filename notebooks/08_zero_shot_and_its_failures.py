# %% [markdown]
# # 08 · Zero-shot and its failures
#
# **What has a model understood that has only ever matched pictures with sentences?**
#
# A trained CLIP names things without ever having been trained to name things, and finds pictures
# by a sentence. It looks as if it understood both. So we ask it questions that tell understanding
# from a lucky habit. The code is
# [`minivlm/evaluate/zero_shot.py`](../minivlm/evaluate/zero_shot.py), `class_embeddings`, and
# [`minivlm/evaluate/probes.py`](../minivlm/evaluate/probes.py), `choice` and `preference`; the
# papers are [Radford et al. 2021](https://arxiv.org/abs/2103.00020), section 3, and [Yuksekgonul
# et al. 2022](https://arxiv.org/abs/2210.01936), *When and why vision-language models behave like
# bags-of-words*.

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

from minivlm.data.draw import draw, make_scenes
from minivlm.data.phrases import caption, listed, name_of, with_article
from minivlm.data.scenes import COLORS, SHAPES, Scene, Thing, sample_scene
from minivlm.evaluate.probes import choice, preference
from minivlm.evaluate.zero_shot import class_embeddings, predict
from minivlm.recipes.pretrained import PRETRAINED_CLIP
from minivlm.recipes.scenes_task import ScenesTask
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.viz.confusion import confusion, confusion_matrix
from minivlm.viz.scores import above_chance, score_bars
from minivlm.viz.sheets import contact_sheet, retrieval_grid

rng = np.random.default_rng(0)
clip = TrainedCLIP.load(PRETRAINED_CLIP)  # the small CLIP that comes with minivlm

# %% [markdown]
# ## Naming without a classifier
#
# There is no layer with an output for each class. A class is a sentence, its direction in the
# joint space is the classifier, and a picture belongs to the class whose direction is nearest:
#
# $$\hat{c} = \arg\max_c \; \text{image} \cdot \text{text}_c$$
#
# Eight colours, eight shapes: 64 classes. Half of these thousand pictures show a pair of colour
# and shape that no training picture showed.

# %%
pairs: list[tuple[str, str]] = list(product(COLORS, SHAPES))
names = [with_article(f"{color} {shape}") for color, shape in pairs]
seen_scenes, seen_images = make_scenes(500, seed=11, things=1)
new_scenes, new_images = make_scenes(500, seed=12, things=1, held_out=True)
things = [scene.things[0] for scene in seen_scenes + new_scenes]
images = np.concatenate([seen_images, new_images])
right = np.array([pairs.index((thing.color, thing.shape)) for thing in things])

embedded = clip.image_embeddings(images)  # (1000, 64), once and for all that follows
said = predict(embedded, class_embeddings(clip.text_embeddings, names))
hits = said == right
print(f"named rightly: {hits[:500].mean():.1%}, pairs never seen together: {hits[500:].mean():.1%}")

# %% [markdown]
# Where it errs, it errs in the shape. Rows are what it is, columns what it said; the most
# frequent mistake is framed.

# %%
print(f"colours right: {np.mean(said // 8 == right // 8):.1%}")
counts = confusion(right % 8, said % 8, 8)
confusion_matrix(counts, SHAPES)

# %% [markdown]
# Here are four of its mistakes. Judge for yourself.

# %%
mistakes = np.flatnonzero(~hits)[:4]
contact_sheet(images[mistakes], [f"“{names[said[i]]}”, but {names[right[i]]}" for i in mistakes])

# %% [markdown]
# ## The art of asking
#
# A class is a sentence, so it matters how you put it. Take away the word *a*:

# %%
bare = [f"{color} {shape}" for color, shape in pairs]
templates = ["a {}", "the {}", "a picture of {}", "i see a {}!", "{}"]
accuracy = {}
for template in templates:
    classes = class_embeddings(clip.text_embeddings, bare, [template])
    accuracy[template] = np.mean(predict(embedded, classes)[:500] == right[:500])
    print(f"{template!r:18} {accuracy[template]:.1%}")

# %% [markdown]
# How can so much hang on the word that says least? Look at the tokens.

# %%
for text in ("a red circle", "red circle"):
    print(text, "→", [clip.tokenizer.decode([i]) for i in clip.tokenizer.encode(text)])

# %% [markdown]
# To the tokenizer, ` red` with a space before it and `red` without one are different strings. No
# training caption *began* with a colour, so it never made a token of the second, and spells it in
# pieces that the text tower has hardly met. What looks like grammar is an accident of bytes.
#
# CLIP's paper has the remedy: an **ensemble**. Put each name into many templates, and take the
# mean of their directions; one bad template is outvoted.

# %%
classes = class_embeddings(clip.text_embeddings, bare, templates)
ensemble = np.mean(predict(embedded, classes)[:500] == right[:500])
print(f"all five together: {ensemble:.1%}")

# %% [markdown]
# It gains nothing over the best template, but nobody told us which one is best. (For photographs,
# whose captions are of all kinds, an ensemble of 80 templates gained CLIP 3.5 points on
# ImageNet.)
#
# ## Search
#
# The same numbers the other way round: one sentence, many pictures, the nearest first. Right ones
# are framed. All pictures were embedded beforehand; a query costs one sentence and a matrix
# product.

# %%
album, album_images = make_scenes(500, seed=13)
wanted = {
    "a red circle": {("red", "circle")},
    "a pink star": {("pink", "star")},
    "a red circle and a blue square": {("red", "circle"), ("blue", "square")},
}
shown = [{(thing.color, thing.shape) for thing in scene.things} for scene in album]
answers = np.array([[kinds <= there for there in shown] for kinds in wanted.values()])
similarity = clip.text_embeddings(list(wanted)) @ clip.image_embeddings(album_images).T
retrieval_grid(list(wanted), album_images, similarity, answers, top=5)

# %% [markdown]
# The last row is odd. Its first picture has everything that was asked for, a red thing, a blue
# thing, a circle, a square. Only that its square is not blue. And do not trust a look at the top
# of a list. How many right ones does the album hold, and where do they come in the order?

# %%
order = np.argsort(-similarity, axis=1)
counts_of_things = np.array([len(scene.things) for scene in album])
found = {}
for query, ranked, right_ones in zip(wanted, order, answers, strict=True):
    N = right_ones.sum()
    early, late = ranked[:N], [i for i in ranked[N:] if right_ones[i]]
    found[query] = right_ones[early].sum() / N
    print(f"{query}: of {N} in the album, {right_ones[early].sum()} among the first {N}", end=", ")
    print(f"{counts_of_things[late].mean():.1f} things in the others")

# %% [markdown]
# Less than half! A picture has one vector, and the circle has to share it with all that stands
# beside it. The right ones that come too late are pictures of crowds, and a pink triangle alone
# stands nearer to *a pink star* than a pink star among others. What is found first is the picture
# that shows *only* what was asked for.
#
# ## Who is red? (binding)
#
# We ask properly. One scene, and the same scene with the two colours exchanged; two sentences.
# Each sentence should find its picture. (It has met all four things in training.)

# %%
at = {"size": "large", "texture": "solid", "y": 0.5, "radius": 0.155}
circle = Thing("circle", "red", cell=3, x=1 / 6, **at)
star = Thing("star", "blue", cell=5, x=5 / 6, **at)
scene = Scene((circle, star), "black")
swapped = Scene((replace(circle, color="blue"), replace(star, color="red")), "black")
two = np.stack([draw(each, 48, rng) for each in (scene, swapped)])
sentences = ["a red circle and a blue star", "a blue circle and a red star"]
cosines = clip.text_embeddings(sentences) @ clip.image_embeddings(two).T
retrieval_grid(sentences, two, cosines, np.eye(2, dtype=bool))

# %% [markdown]
# Both sentences put the same picture first, and all four cosines are nearly the same. Whom should
# we blame, the eye or the tongue? Both. To the text tower the two sentences are almost one, and to
# the picture tower the two pictures are.

# %%
texts, eyes = clip.text_embeddings([*sentences, "a pink heart"]), clip.image_embeddings(two)
print(f"cosine of the two sentences {texts[0] @ texts[1]:.4f}, of one with a pink heart", end=" ")
print(f"{texts[0] @ texts[2]:.4f}")
print(f"cosine of the two pictures  {eyes[0] @ eyes[1]:.4f}")

# %% [markdown]
# ## How many? (counting)
#
# Pictures of two, three and four things, and the sentences *two objects*, *three objects*, *four
# objects*: words with which many of its captions began. And then, of a list of all things that
# are there: is it preferred to the same list without its last item?

# %%
crowd = [make_scenes(100, seed=20 + count, things=count) for count in (2, 3, 4)]
crowd_scenes = [scene for scenes, _ in crowd for scene in scenes]
crowd_embedded = clip.image_embeddings(np.concatenate([images for _, images in crowd]))
numbers = [f"{word} objects" for word in ("two", "three", "four")]
count_by_word = choice(
    "counting: two, three or four objects",
    *(crowd_embedded, clip.text_embeddings),
    options=[numbers] * 300,
    answers=np.repeat([0, 1, 2], 100).tolist(),
)
lists = [[name_of(t, size=False, texture=False) for t in scene.things] for scene in crowd_scenes]
count_by_list = preference(
    "counting: one of the things left out",
    *(crowd_embedded, clip.text_embeddings),
    right=[listed(things) for things in lists],
    wrong=[listed(things[:-1]) for things in lists],
)
print(f"number words {count_by_word.value:.0%} (guessing 33 %)", end=", ")
print(f"lists {count_by_list.value:.1%} (guessing 50 %)")

# %% [markdown]
# It has no idea of *three*; but it notices at once if a thing is missing from the list.
#
# ## The whole exam
#
# `ScenesTask.evaluate` is what `minivlm eval clip` runs, on test scenes that nothing was chosen
# on. Black ticks are what guessing would give, grey lines one standard error; orange is what is
# not above guessing by two of these. The last two bars are our own counting.

# %%
scores = ScenesTask(clip.settings).evaluate(clip)
kept = [s for s in scores if "@5" not in s.name and "@10" not in s.name]
score_bars([*kept, count_by_list, count_by_word])

# %% [markdown]
# Everything that a **bag of things** can answer, it answers almost without fault: what is there,
# how it looks, what is missing. Where *structure* is needed it guesses: which colour belongs to
# which shape, who is to the left of whom, how many. Only of the nine places it knows a little,
# more than guessing gives and far from all.
#
# ## Why? Because a bag wins the game
#
# CLIP only ever has to find the right sentence among those of its batch. When would it have to
# know which of two things is red? Only if the batch holds a second sentence of the same colours
# and shapes, paired the other way. How often does that happen?

# %%
drawn = [sample_scene(np.random.default_rng((14, i)), count=2) for i in range(128 * 40)]
rivals = 0
for batch in np.array_split(np.arange(len(drawn)), 40):
    scenes = [drawn[i] for i in batch]
    pairing = [tuple(sorted((t.color, t.shape) for t in scene.things)) for scene in scenes]
    bag = [tuple(sorted(c for c, _ in p)) + tuple(sorted(s for _, s in p)) for p in pairing]
    rivals += sum(
        any(bag[i] == bag[j] and pairing[i] != pairing[j] for j in range(128)) for i in range(128)
    )
share = rivals / len(drawn)
print(f"{share:.1%} of the captions of two things have a rival in a batch of 128")
print(f"to guess among all 128 costs {np.log(128):.2f} nats a caption;", end=" ")
print(f"to know all but who is who costs {share * np.log(2):.3f}")

# %% [markdown]
# (A nat is the unit of the loss: tossing a coin between two costs log 2 of them.) So little is to
# be gained by it, and so much else to be learnt. Put such rivals into the batches on purpose, and
# a model has a reason to tell them apart: that is the remedy of Yuksekgonul et al.
#
# It is not the whole story. Towers of ours that trained for a shorter time, on batches like
# these, do tell who is red; these, which trained for longer and are better at most else, do not.
# Why, nobody has looked into ([`docs/training.md`](../docs/training.md) has the tables). Perhaps
# you will.
#
# ## What does it cost?
#
# Its strength has the same root as its weakness. A picture becomes *one* vector, once; whatever
# you ask afterwards is a dot product with it. Count products, those of the tower's blocks with
# their weights (attention's own come on top).

# %%
weights = sum(p.data.size for block in clip.model.vision.blocks for p in block.parameters())
tokens = clip.model.vision.config.patches
width = clip.model.config.embed
millions = tokens * weights / 1e6
print(
    f"to look at a picture: {tokens} tokens · {weights:,} weights, {millions:.1f} million products"
)
print(f"to compare it with a sentence: {width} products")
print(f"to keep it: {width} numbers in place of {images[0].size}")

# %% [markdown]
# | | contrastive: CLIP | generative: LLaVA |
# |---|---|---|
# | it gives | a number for a picture and a sentence | a sentence |
# | it is asked | with all possible answers | with a question |
# | a million pictures | embed once, then dot products | read again for each question |
# | naming one thing | at once | one reading |
# | searching | fast; best where a thing is alone | [10](10_wiring_llava.ipynb) measures it |
# | binding, left or right, counting | guesses, as measured here | [10](10_wiring_llava.ipynb) |
# | it learns from | pairs, and all the wrong pairs of a batch | conversations, and an eye |
#
# One thing to wonder about until then: LLaVA's eye is *this very picture tower*. If the tower had
# thrown away who is red, no talker could ever say it. But what we compared here was the **mean**
# over its patches. LLaVA reads the patches themselves, and its answers will show what they still
# know.
#
# ## Change this line and predict
#
# 1. Make the second of `sentences` *a blue star and a red circle*: the first one's own fact, told
#    in another order. Are the two sentences now closer to each other than before, or less close?
# 2. In `templates`, leave out all but `"a {}"` and `"{}"`. Is the mean of a good and a bad prompt
#    good, bad, or in between?
# 3. In the list of things in `lists`, leave out the first in place of the last: `things[1:]`. And
#    what if a thing that is not there is added, `[*things, "a pink star"]`?
#
# ## What was claimed

# %%
assert hits[:500].mean() > 0.95
assert hits[500:].mean() > 0.85
assert np.mean(said // 8 == right // 8) > 0.99
assert accuracy["{}"] < 0.5 < accuracy["a {}"] - 0.4
assert ensemble > accuracy["a {}"] - 0.03
assert all(len(clip.tokenizer.encode(color)) > 1 for color in COLORS)
told = [caption(scene, rng) for scene in seen_scenes + album]
assert not any(text.startswith(COLORS) for text in told)
assert any(text.startswith("three objects") for text in told)
assert not answers[2, similarity[2].argmax()]
assert found["a red circle"] < 0.5
assert found["a pink star"] < 0.5
assert (cosines.argmax(1) == cosines[0].argmax()).all()
assert np.ptp(cosines) < 0.05
assert texts[0] @ texts[1] > 0.98 > 0.6 > texts[0] @ texts[2]
assert eyes[0] @ eyes[1] > 0.98
by_name = {score.name.strip(): score for score in scores}
for name in ("binding: colours swapped", "relation: sides swapped"):
    assert not above_chance(by_name[name])
assert above_chance(by_name["position: nine places"])
assert not above_chance(count_by_word)
assert count_by_list.value > 0.95
assert share < 0.2

# %% [markdown]
# **Next:** [09 · A decoder that remembers](09_a_decoder_that_remembers.ipynb): the other half of
# the field, models that talk.

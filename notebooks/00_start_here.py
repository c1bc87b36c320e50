# %% [markdown]
# # 00 · Start here
#
# **Can 363 thousand numbers look at a picture and talk about it?**
#
# Run this page from top to bottom. It sees to it that all is in place, lets a small model describe
# a picture and answer questions about it, and shows the way through the twelve pages that take
# the model apart. Everything is NumPy, runs on a laptop's CPU, and every gradient is written by
# hand. What you see at work is [`minivlm/models/llava.py`](../minivlm/models/llava.py), `LLaVA`,
# after [Liu et al. 2023](https://arxiv.org/abs/2304.08485), with an eye trained as in CLIP,
# [Radford et al. 2021](https://arxiv.org/abs/2103.00020).

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
from importlib.metadata import version
from textwrap import fill

import numpy as np

from minivlm.data.draw import make_scenes
from minivlm.data.lessons import PROMPT
from minivlm.data.phrases import describe
from minivlm.recipes.pretrained import PRETRAINED_VLM
from minivlm.recipes.trained_vlm import TrainedVLM
from minivlm.recipes.use_vlm import Chat, attention_of
from minivlm.viz.attention import answer_attention
from minivlm.viz.sheets import contact_sheet

# %% [markdown]
# ## Is everything here?
#
# The core needs NumPy and six friends. The rest is optional: each line below says what you
# would gain. Nothing that is missing stops you from reading on.

# %%
print(f"Python {sys.version.split()[0]}, NumPy {version('numpy')}, minivlm {version('minivlm')}")

extras = {
    "ipywidgets": ("notebooks", "a slider where pictures follow each other; without it, a strip"),
    "numba": ("notebooks", "notebooks 11 and 12 step through GPU kernels, without a GPU"),
    "sklearn": ("digits", "train on real handwritten digits"),
    "torch": ("reference", "compare every op and model with PyTorch"),
    "cupy": ("cuda13", "run the kernels on an NVIDIA GPU"),
}
for module, (extra, gain) in extras.items():
    there = importlib.util.find_spec(module) is not None
    print(f"{'ok' if there else '–':2}  {module:10}  {gain}", end="")
    print("" if there else f'\n                pip install -e ".[{extra}]"')

# %% [markdown]
# ## A picture that it never saw
#
# The world of these notebooks is made of *scenes*: a few shapes on a dark ground, 48×48 pixels,
# drawn at random from a seed. There are as many as one likes, and of each we know the truth. Here
# are three that the model was not trained on.

# %%
scenes, images = make_scenes(3, seed=2024, things=2)
contact_sheet(images, ["first", "second", "third"])

# %% [markdown]
# The model comes with minivlm. An **eye**, a vision transformer that learnt to see as CLIP does,
# turns a picture into vectors. A **language model** of LLaMA's kind predicts one word after the
# other. And a small **projector** between them turns the vectors into what a language model can
# read: words that stand in no dictionary.

# %%
vlm = TrainedVLM.load(PRETRAINED_VLM)
model = vlm.model
parts = {"eye": model.vision, "projector": model.projector, "language model": model.decoder}
for name, part in parts.items():
    print(f"{name:15} {part.size():8,} numbers")
print(f"{'together':15} {model.size():8,}")

# %% [markdown]
# ## It describes
#
# Each picture with what the model says of it beneath.

# %%
seen = vlm.look(images)  # the eye's work, once for each picture
captions = vlm.answers(seen, [PROMPT] * len(images))
contact_sheet(images, captions)

# %% [markdown]
# All true, and in its own order and words: it was taught to describe like that. But three pictures
# can be luck. So take 120 with four things each, the hardest that it knows, and count the
# descriptions that are right word for word. And look at one that is not.

# %%
hard, hard_images = make_scenes(120, seed=5, things=4)
said = vlm.answers(vlm.look(hard_images), [PROMPT] * len(hard))
wrong = [i for i, scene in enumerate(hard) if said[i] != describe(scene)]
print(f"{len(hard) - len(wrong)} of {len(hard)} are right; of the others, the first:\n")
print(fill(f"it says:  {said[wrong[0]]}", 90, subsequent_indent=" " * 10))
print(fill(f"in truth: {describe(hard[wrong[0]])}", 90, subsequent_indent=" " * 10))

# %% [markdown]
# ## It answers
#
# And it keeps a conversation. Ask your own; it knows colours, shapes, sizes, stripes, places,
# numbers, left and right of, above and below. The last question is unfair, and look what it does.

# %%
chat = Chat(vlm, images[1])
answers = {}
for question in (
    "how many objects are there?",
    "what color is the background?",
    "is the pink circle to the left of the green circle?",
    "is there a green star?",
    "what is at the right?",
    "who painted this?",
):
    answers[question] = "".join(chat.ask(question))
    print(f"{question:52} {answers[question]}")

# %% [markdown]
# It cannot say *I do not know*: nobody ever taught it to, and so every question gets an answer that
# sounds like those of the training. Large models share the trouble, only their world is larger.
#
# ## Where did it look?
#
# The nine squares are the nine "words" that stand for the picture, and the per cents are how much
# attention a word of the answer pays to each. Does *circle* look at the circle?

# %%
chat = Chat(vlm, images[1])
asked = "what is at the right?"
"".join(chat.ask(asked))
words, weights = attention_of(vlm, chat.seen, chat.turns)
answer_attention(images[1], asked, words, weights)

# %% [markdown]
# ## Take the picture away
#
# The surprise for the end of this page: the same model, the same question, and no picture at all.

# %%
dream = vlm.answers(None, [PROMPT])[0]
print(fill(dream, 90))

# %% [markdown]
# It describes with the same assurance what is not there (and forgets to say, a blue *what*). A
# language model always has a next word; whether it comes *from the picture* is what training has
# to bring about and an evaluation has to measure, and both are pages of this course.
#
# ## The map
#
# Each notebook asks one question, and each stands alone. Two ways through: all in order, or 00,
# 05, 07, 10 for the shortest path to a model that talks.
#
# **How it learns**
#
# - [01 · Autograd you can see](01_autograd_you_can_see.ipynb): where does a gradient come from?
# - [02 · The tape, step by step](02_the_tape_step_by_step.ipynb): what happens inside `backward`?
# - [03 · When numbers lie](03_when_numbers_lie.ipynb): when is right code wrong?
#
# **How it sees**
#
# - [04 · From pixels to tokens](04_from_pixels_to_tokens.ipynb): how does a picture become a
#   sentence?
# - [05 · Attention by hand](05_attention_by_hand.ipynb): what does a token do when it looks at
#   the others?
# - [06 · What a ViT looks at](06_what_a_vit_looks_at.ipynb): can one see what a transformer sees?
#
# **How it knows what words mean**
#
# - [07 · CLIP: the diagonal](07_clip_the_diagonal.ipynb): how do pictures and texts get into one
#   space?
# - [08 · Zero-shot and its failures](08_zero_shot_and_its_failures.ipynb): what can it name
#   that it was never taught, and what not?
#
# **How it talks**
#
# - [09 · A decoder that remembers](09_a_decoder_that_remembers.ipynb): how does a model write?
# - [10 · Wiring LLaVA](10_wiring_llava.ipynb): how does a language model get an eye?
#
# **How it gets fast**
#
# - [11 · A GPU in slow motion](11_a_gpu_in_slow_motion.ipynb): what do thousands of threads do?
# - [12 · Flash attention](12_flash_attention.ipynb): how does one never store the matrix?
#
# ## Change this line and predict
#
# 1. It was trained on one to four things. Set `things=6` where the three scenes are made: what does
#    it do with the fifth, and what happens to the other four?
# 2. Turn a picture over: `images = images[:, ::-1].copy()`. What should the model say now, and
#    does it?
# 3. Before `vlm.look`, replace a picture by noise:
#    `images[0] = np.random.default_rng(0).integers(0, 256, images[0].shape)`. What will it see?
#
# ## What was claimed

# %%
assert 0 < len(wrong) < 20
assert captions == [describe(scene) for scene in scenes]
assert sum(part.size() for part in parts.values()) == model.size() == 363_136
assert answers["how many objects are there?"] == "two"
assert answers["is there a green star?"] == "no"
assert dream not in captions
np.testing.assert_array_less(0, weights)
assert weights.shape == (len(words), 3, 3)
assert weights[words.index("circle")].argmax() == 5  # the sixth of nine cells: at the right

# %% [markdown]
# **Next:** [01 · Autograd you can see](01_autograd_you_can_see.ipynb). Everything that you have
# seen here was learnt by one idea, and it fits on a page.

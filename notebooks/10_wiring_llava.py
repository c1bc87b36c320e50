# %% [markdown]
# # 10 · Wiring LLaVA
#
# **How does a model that has only ever read words get an eye?**
#
# The trick fits into a sentence: turn patches of a picture into vectors of the width of a word,
# and put them among the words. The language model is none the wiser. The code is
# [`minivlm/models/llava.py`](../minivlm/models/llava.py), `LLaVA.spliced`; how it is trained is
# [`minivlm/train/stages.py`](../minivlm/train/stages.py); the paper is
# [Liu et al. 2023](https://arxiv.org/abs/2304.08485), *Visual Instruction Tuning*.

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
from copy import deepcopy
from dataclasses import replace
from itertools import product
from textwrap import fill

import numpy as np

from minivlm.data.chat import Turn, next_token_labels
from minivlm.data.draw import draw, make_scenes
from minivlm.data.lessons import PROMPT, about_picture, captioning, instruction, reading
from minivlm.data.phrases import listed, name_of, with_article
from minivlm.data.scenes import COLORS, HELD_OUT, PLACES, SHAPES, Scene, Thing
from minivlm.evaluate.captions import score_captions
from minivlm.evaluate.probes import choice, preference
from minivlm.models.generate import Sampling, probabilities
from minivlm.models.llava import LLaVA
from minivlm.nn.lora import lora_parameters, merge_lora
from minivlm.ops.losses import IGNORE
from minivlm.recipes.lessons import Talk
from minivlm.recipes.pretrained import PRETRAINED_CLIP, PRETRAINED_VLM
from minivlm.recipes.train_vlm import parts
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.recipes.trained_vlm import SPECIALS, TrainedVLM
from minivlm.recipes.use_vlm import Chat, attention_of
from minivlm.tensor import Tensor, no_grad
from minivlm.train import stages
from minivlm.train.parallel import Replicas
from minivlm.viz.attention import answer_attention
from minivlm.viz.changes import change_bars, relative_changes
from minivlm.viz.next_token import next_token_bars
from minivlm.viz.scores import compared_bars
from minivlm.viz.sheets import contact_sheet
from minivlm.viz.style import BLUE, GRAY, ORANGE, new_figure
from minivlm.viz.tokens import token_strip

vlm = TrainedVLM.load(PRETRAINED_VLM)  # the small talker that comes with minivlm
clip = TrainedCLIP.load(PRETRAINED_CLIP)  # and the CLIP whose eye it has

# %% [markdown]
# ## Words that stand in no dictionary
#
# Follow one picture inwards, by its shapes.

# %%
scenes, images = make_scenes(1, seed=3, things=2)
seen = vlm.look(images)
with no_grad():
    soft = vlm.model.projector(Tensor(seen)).data
turns = [about_picture("what color is the background?"), Turn("gpt", scenes[0].background)]
ids = vlm.prompt(turns[:1])[None]
with no_grad():
    words, spliced = vlm.model.decoder.embed(ids).data, vlm.model.spliced(ids, Tensor(seen)).data
print(f"picture             {images.shape}")
print(f"the eye's patches   {seen.shape}")
print(f"soft words          {soft.shape}, each made of 2 × 2 patches")
print(f"ids                 {ids.shape}: {' '.join(map(str, ids[0]))}")
print(f"what the model reads {spliced.shape}")

# %% [markdown]
# The id 3 means *here stands a part of a picture*, once for each soft word. `spliced` looks up
# all ids in the table, and at these places puts a row of the projector's output instead. That is
# all the wiring there is.

# %% [markdown]
# Is a soft word like a word? For each part of the picture, the table's nearest entry, by cosine.

# %%
table = vlm.model.decoder.tokens.weight.data
cosines = soft[0] @ table.T
cosines /= np.linalg.norm(soft[0], axis=1)[:, None] * np.linalg.norm(table, axis=1)
contact_sheet(images, ["the picture"])

# %%
vocabulary = [*SPECIALS, *map(vlm.tokenizer.decode, np.arange(len(SPECIALS), len(table))[:, None])]
nearest = [vocabulary[i] for i in cosines.argmax(1)]
for row in range(3):
    cells = [f"{nearest[i]!r} {cosines[i].max():.2f}" for i in range(3 * row, 3 * row + 3)]
    print("".join(f"{cell:16}" for cell in cells))

# %% [markdown]
# It is not. The projector does not caption patches; where there is something, the nearest word is
# not its name, and even the nearest is far away (a word has a cosine of 1 with itself). Soft
# words need not be anything a person would say. They only have to be something that the layers
# above can *use*.
#
# ## Which tokens are learnt?
#
# A conversation as the model reads it in training, each token in its box. Every position predicts
# the token after it, but only underlined tokens are learnt: those of the answers, with the `<end>`
# that closes each. Questions come from the user, and pictures cannot be spelt. Beneath each token
# is its **label**, what the loss wants to be said next: the ids, one place to the left, with −100
# (`IGNORE`) where nothing is wanted.

# %%
conversation = instruction(scenes[0], 3, np.random.default_rng(2))
sample = vlm.sample(conversation)
image_token = vlm.model.config.image_token
names = [vocabulary[i] for i in sample.ids]
kinds = [
    "image" if i == image_token else "answer" if counts else "prompt"
    for i, counts in zip(sample.ids, sample.learnt, strict=True)
]
labels = next_token_labels(sample.ids[None], sample.learnt[None], IGNORE)[0]
wanted = [None if label == IGNORE else vocabulary[label] for label in labels]
token_strip([name.replace("\n", "↵") for name in names], kinds, sample.learnt.tolist(), wanted)

# %%
print(f"{sample.learnt.sum()} of {len(sample.ids)} tokens are learnt")

# %% [markdown]
# An answer is asked for one token early: beneath `<answer>`, which is still the user's, stands
# *yes*. And what follows `<end>` is nobody's lesson, for the next question is the user's again.
#
# ## What each stage changes
#
# LLaVA finds a language model and an eye ready-made. Ours has to learn to read first (stage 0,
# text alone). Then, with *all else frozen*, the projector learns to caption (stage 1): the
# language model cannot adapt to the eye's nonsense, so the projector must learn to talk sense.
# Only then both learn to answer (stage 2). Here is a new model, and a few dozen steps of each
# stage: far too few to get good, enough to see who moves. A bar is the length of a part's change,
# as a share of the length of its weights before.

# %%
small = LLaVA(vlm.model.config, np.random.default_rng(0))
small.vision.load_state_dict(clip.model.vision.state_dict())
pupil = TrainedVLM(small, vlm.tokenizer, replace(vlm.settings, threads=1))
lesson_scenes, lesson_images = make_scenes(600, seed=1)
features = pupil.look(lesson_images)  # once: the eye never changes
rng = np.random.default_rng(0)

parts_of_it = {
    "eye": "vision.",
    "projector": "projector.",
    "word table": "decoder.tokens.",
    "blocks": "decoder.blocks.",
}
batches, start = [], {}  # of the last stage; the model's weights before each
changes, moving = {}, {}
replicas = Replicas(small, 1)
for number, (set_up, lr, count) in enumerate(
    [(stages.reading, 0.01, 60), (stages.alignment, 0.02, 30), (stages.instruction, 0.01, 30)]
):
    start[number] = deepcopy(small.state_dict())
    stage = set_up(small, lr)
    batches = []
    for _ in range(count):
        picked = rng.integers(len(lesson_scenes), size=24).tolist()
        if number == 0:
            talks = [Talk(reading(lesson_scenes[i], rng), ()) for i in picked]
        elif number == 1:
            talks = [Talk(captioning(lesson_scenes[i]), (i,)) for i in picked]
        else:
            talks = [Talk(instruction(lesson_scenes[i], 1, rng), (i,)) for i in picked]
        batches.append(parts(pupil, talks, features))
    log = list(stages.steps(stage, replicas, batches, count))
    title = f"stage {number}: {stage.name}"
    changes[title] = relative_changes(start[number], small.state_dict(), parts_of_it)
    moving[title] = sum(p.data.size for p in stage.optimizer.parameters.values())
    losses = [step.loss for step in log]
    print(f"{title:22} {moving[title]:7,} of {small.size():,} numbers move,", end=" ")
    print(f"loss {losses[0]:.2f} → {losses[-1]:.2f}")
replicas.close()
full = deepcopy(small.state_dict())
change_bars(changes)

# %% [markdown]
# *Frozen* means not a single bit. And the eye is frozen in all three, which is why each picture
# has to be looked at only once.
#
# ## Stage 2, on a diet
#
# LoRA ([Hu et al. 2021](https://arxiv.org/abs/2106.09685),
# [`minivlm/nn/lora.py`](../minivlm/nn/lora.py)) leaves the language model's matrices as they are,
# and puts a thin detour beside each: W + (α/r)·B·A, with only r rows in A. Same batches, same
# start, rank 4; once at the learning rate of before, and once at ten times that.

# %%
for lr in (0.01, 0.1):
    small.load_state_dict(start[2])
    stage = stages.instruction_by_lora(small, lr, rank=4, alpha=16.0, rng=np.random.default_rng(0))
    bases = {n: p.data.copy() for n, p in small.named_parameters().items() if ".base." in n}
    replicas = Replicas(small, 1)
    log = list(stages.steps(stage, replicas, batches, len(batches)))
    replicas.close()
    untouched = all(np.array_equal(small.named_parameters()[n].data, bases[n]) for n in bases)
    detours = sum(p.data.size for p in lora_parameters(small.decoder).values())
    beside = small.decoder.size() - detours
    merge_lora(small.decoder)
    print(f"learning rate {lr}: loss {log[0].loss:.2f} → {log[-1].loss:.2f}", end=", ")
    print(f"the matrices are untouched: {untouched}")
merged = deepcopy(small.state_dict())
print(f"{detours:,} numbers in detours, beside the decoder's {beside:,}")

# %% [markdown]
# Merged into their matrices, the detours cost nothing any more. What kind of change did each way
# make? Take one matrix, its change, and the change's singular values: how many directions there
# are in it, and how strong each is.

# %%
name = "decoder.blocks.1.mlp.up.weight"
by_full, by_lora = (
    np.linalg.svd(weights[name] - start[2][name], compute_uv=False) for weights in (full, merged)
)
figure = new_figure(6.4, 2.8)
axes = figure.subplots()
axes.plot(range(1, 65), by_full, "o", color=ORANGE, markersize=4, label="in full")
axes.plot(range(1, 65), by_lora, "s", color=BLUE, markersize=4, label="LoRA, rank 4")
axes.set(xlabel="singular values, the largest first", ylabel="size")
axes.set_title("the change of one matrix", fontsize=10)
axes.legend(frameon=False)
figure

# %% [markdown]
# LoRA's change has four directions and not one more, and they are long: at the learning rate of the
# full stage it hardly moved, at ten times that it gets on, though in this short time not as far.
#
# ## What the picture does to the next word
#
# Back to the trained talker. [Notebook 08](08_zero_shot_and_its_failures.ipynb) ended with a
# question: CLIP's eye, its mean over all patches, could not tell *a red circle and a blue star*
# from the same with the colours exchanged. LLaVA reads the patches of that very eye. Do they still
# know who is red?

# %%
at = {"size": "large", "texture": "solid", "y": 0.5, "radius": 0.155}
circle = Thing("circle", "red", cell=3, x=1 / 6, **at)
star = Thing("star", "blue", cell=5, x=5 / 6, **at)
scene = Scene((circle, star), "black")
swapped = Scene((replace(circle, color="blue"), replace(star, color="red")), "black")
two = np.stack([draw(each, 48, rng) for each in (scene, swapped)])
contact_sheet(two, vlm.answers(vlm.look(two), [PROMPT] * 2))

# %% [markdown]
# They do. Here is the moment of truth, the token after *what color is the circle?*, with each
# picture and with none.

# %%
question = "what color is the circle?"
panels = []
for title, pictures in (("red", two[:1]), ("blue", two[1:]), ("no picture", None)):
    turn = Turn("human", question) if pictures is None else about_picture(question)
    look = None if pictures is None else Tensor(vlm.look(pictures))
    with no_grad():
        logits = vlm.model.read(vlm.prompt([turn])[None], look).data[:, -1]
    panels.append((f"({title}) {question}", probabilities(logits, Sampling(temperature=1.0))[0]))
next_token_bars(panels, vocabulary, most=4)

# %% [markdown]
# Without a picture it answers all the same. Its bars are less sure, but of that its answer shows
# nothing: it says *green*, in the same one word as if it had looked. That is **hallucination** in
# its purest form.
#
# ## From a word to its patches
#
# A description of the first picture, word for word as it is written, and for each word where the
# model looked when it chose it: how much attention, in per cent, it paid to each of the nine soft
# words; the mean over all blocks and heads. The rest went to words. (Each panel has a scale of
# colours of its own: compare places within it, and numbers between panels.)

# %%
chat = Chat(vlm, two[0])
caption = "".join(chat.ask(PROMPT))
said, weights = attention_of(vlm, chat.seen, chat.turns)
answer_attention(two[0], caption, said, weights)

# %% [markdown]
# Attention is not an explanation (a mean over heads hides a lot, [notebook
# 06](06_what_a_vit_looks_at.ipynb)), but see which of the nine places is brightest.

# %%
brightest = [PLACES[int(paid.argmax())] for paid in weights]
for word, place in zip(said, brightest, strict=True):
    if word in ("large", "red", "circle", "left", "blue", "star", "right"):
        print(f"{word:7} looks at the {place}")
left, right = (weights[said.index(word)].ravel() for word in ("left", "right"))
alike = np.corrcoef(left, right)[0, 1]
print(f"correlation of the maps of left and right: {alike:.2f}")

# %% [markdown]
# Size, colour and shape look at the thing that they speak of, first at the circle, then at the
# star. Not so the places: *left* does not look at the left, nor *right* at the right. Both look at
# the same empty middle, and their pictures are nearly the same, though one word was chosen and not
# the other. How it knows what to say there, this picture does not show.
#
# ## The two paradigms, on the same pictures
#
# CLIP gets the right sentence and wrong ones and has to prefer the right one. The talker gets a
# question and has to *say* the answer. The same pictures for both, drawn from a seed of their own.

# %%
clear = []
for each in make_scenes(500, seed=31, things=2)[0]:
    a, b = each.things
    exchanged = replace(a, color=b.color), replace(b, color=a.color)
    differ = a.color != b.color and a.shape != b.shape and a.cell % 3 != b.cell % 3
    if differ and not any((t.color, t.shape) in HELD_OUT for t in exchanged):
        clear.append(each)
pictures = np.stack([draw(each, 48, rng) for each in clear])
pairs = [each.things for each in clear]
plain = [[name_of(t, size=False, texture=False) for t in each.things] for each in clear]
others = [
    [with_article(f"{b.color} {a.shape}"), with_article(f"{a.color} {b.shape}")] for a, b in pairs
]
sides = ["left" if a.cell % 3 < b.cell % 3 else "right" for a, b in pairs]
crowds = [make_scenes(100, seed=40 + n, things=n) for n in (2, 3, 4)]
crowd = np.concatenate([images for _, images in crowds])
single_scenes, single = make_scenes(300, seed=50, things=1)
alone = [each.things[0] for each in single_scenes]
single_names = [name_of(t, size=False, texture=False) for t in alone]
kinds_of_things = [with_article(f"{color} {shape}") for color, shape in product(COLORS, SHAPES)]

# %%
embedded = clip.image_embeddings(pictures)
by_clip = [
    choice(
        "naming",
        *(clip.image_embeddings(single), clip.text_embeddings),
        options=[kinds_of_things] * 300,
        answers=[kinds_of_things.index(name) for name in single_names],
    ),
    preference(
        "binding",
        *(embedded, clip.text_embeddings),
        right=[listed(p) for p in plain],
        wrong=[listed(o) for o in others],
    ),
    preference(
        "left or right",
        *(embedded, clip.text_embeddings),
        right=[f"{a} to the {side} of {b}" for (a, b), side in zip(plain, sides, strict=True)],
        wrong=[f"{b} to the {side} of {a}" for (a, b), side in zip(plain, sides, strict=True)],
    ),
    choice(
        "two, three or four",
        *(clip.image_embeddings(crowd), clip.text_embeddings),
        options=[[f"{n} objects" for n in ("two", "three", "four")]] * 300,
        answers=np.repeat([0, 1, 2], 100).tolist(),
    ),
    choice(
        "one of nine places",
        *(clip.image_embeddings(single), clip.text_embeddings),
        options=[[f"{thing} at the {place}" for place in PLACES] for thing in single_names],
        answers=[thing.cell for thing in alone],
    ),
]
exams = [
    (single, [f"what is at the {thing.place}?" for thing in alone], single_names),
    (pictures, [f"what color is the {a.shape}?" for a, _ in pairs], [a.color for a, _ in pairs]),
    (
        pictures,
        [f"is the {a.color} {a.shape} to the left of the {b.color} {b.shape}?" for a, b in pairs],
        ["yes" if side == "left" else "no" for side in sides],
    ),
    (
        crowd,
        ["how many objects are there?"] * 300,
        ["two"] * 100 + ["three"] * 100 + ["four"] * 100,
    ),
    (single, [f"where is the {thing.shape}?" for thing in alone], [t.place for t in alone]),
]
by_talker, blind = [], []
for exam, questions, right in exams:
    by_talker.append(np.mean(np.array(vlm.answers(vlm.look(exam), questions)) == right))
    blind.append(np.mean(np.array(vlm.answers(None, questions)) == right))

compared_bars(
    [
        "naming: which of 64?",
        "binding: what color is it?",
        "is it left or right?",
        "two, three or four?",
        "where, of nine places?",
    ],
    {
        "CLIP chooses": [score.value for score in by_clip],
        "the talker says": by_talker,
        "without the picture": blind,
    },
    [score.chance for score in by_clip],
)

# %% [markdown]
# What one thing is, both know. Wherever one part of a picture has to be told from another, CLIP is
# near its guessing (the black ticks), and the talker is right almost always. It has that from the
# picture: asked the same without, it is no better than if it guessed among eight colours, two
# sides, three numbers, nine places. (It can be worse: *one* is what it always says to *how many*.)
#
# Is it really the same eye? And how far into it does the talker go: layer −1 would be its last
# block, which made CLIP's one vector, and −2 is the block before.

# %%
eyes = clip.model.vision.state_dict(), vlm.model.vision.state_dict()
same_eye = all(np.array_equal(eyes[0][name], eyes[1][name]) for name in eyes[0])
print(f"the talker's eye is CLIP's: {same_eye}; it reads layer {vlm.model.config.vision_layer}")

# %% [markdown]
# So the eye had not thrown away who is red: the patches, one block before the end, still tell it.
# Somewhere between them and CLIP's one vector it is lost, or can no longer be read; where exactly
# was not measured here. Patches kept as words keep the structure, and a language model that is
# asked about structure learns to read it.
#
# ## A search, both ways
#
# Notebook 08's album again: which of five hundred pictures show a red circle? CLIP ranks them by
# one dot product each, and we take as many as there are right ones. The talker is asked *is there
# a red circle?* five hundred times.

# %%
album, album_images = make_scenes(500, seed=13)
there = [[with_article(f"{t.color} {t.shape}") for t in scene.things] for scene in album]
vectors, patches = clip.image_embeddings(album_images), vlm.look(album_images)  # once for all
found = {"CLIP": [], "talker": []}
truth_of_yes, ms = [], {"CLIP": [], "talker": []}
for kind in kinds_of_things:
    right = np.array([kind in things for things in there])
    if not (N := right.sum()):
        continue  # the pairs that were held back
    began = time.perf_counter()
    near = np.argsort(-(vectors @ clip.text_embeddings([kind])[0]))[:N]
    between = time.perf_counter()
    yes = np.array(vlm.answers(patches, [f"is there {kind}?"] * 500)) == "yes"
    ms["CLIP"].append(1000 * (between - began))
    ms["talker"].append(1000 * (time.perf_counter() - between))
    found["CLIP"].append(right[near].sum() / N)
    found["talker"].append((right & yes).sum() / N)
    truth_of_yes.append((right & yes).sum() / max(1, yes.sum()))
    if kind in ("a red circle", "a pink star"):
        print(f"{kind}: {N} in the album, {right[near].sum()} among CLIP's first {N};", end=" ")
        print(f"the talker says yes {yes.sum()} times, {(right & yes).sum()} times rightly")
print(f"mean over {len(truth_of_yes)} kinds of things:", end=" ")
print(f"CLIP finds {np.mean(found['CLIP']):.0%},", end=" ")
print(f"the talker {np.mean(found['talker']):.0%}", end=" ")
print(f"({np.mean(truth_of_yes):.0%} of its yes are right)")
print(f"milliseconds a search: CLIP {np.median(ms['CLIP']):.1f}", end=", ")
print(f"the talker {np.median(ms['talker']):.0f}")

# %% [markdown]
# Who reads finds nearly everything, and pays for it. One can have both: CLIP brings the nearest
# thousand of a million, and a model that reads looks through these. But mind how you ask:

# %%
asked = ["is there a red circle?", "is there a red circle in the image?"]
circles = sum(any(name.endswith("circle") for name in names) for names in there)
said_yes = [vlm.answers(patches, [question] * 500).count("yes") for question in asked]
print(f"{asked[0]} yes {said_yes[0]}; {asked[1]} yes {said_yes[1]}")
print(f"pictures with a circle of any colour: {circles}")

# %% [markdown]
# In its lessons *in the image* came with a shape alone, never with a colour. So it does not look
# for red, and says yes to most circles. An accident of its schooling, like the missing *a* in
# notebook 08; and who only tests the one way of asking will never know of the other.
#
# ## In its own words, and out of thin air
#
# What CLIP cannot do at all is to say something that nobody offered. Two hundred scenes, described
# with the picture and without; *made up* is the share of things mentioned that are not there
# (CHAIR, [Rohrbach et al. 2018](https://arxiv.org/abs/1809.02156)). Then a question in POPE's
# manner ([Li et al. 2023](https://arxiv.org/abs/2305.10355)): is there a thing of this shape, where
# there is one, and where there is none?

# %%
described, their_images = make_scenes(200, seed=60)
looked = vlm.look(their_images)
with_it = score_captions(vlm.answers(looked, [PROMPT] * 200), described)
without = score_captions(vlm.answers(None, [PROMPT] * 200), described)
for title, c in (("with the picture", with_it), ("without", without)):
    print(f"{title:17} word for word {c.exact:6.1%}, made up {c.chair:6.1%}, found {c.recall:6.1%}")
blind_words = vlm.answers(None, [PROMPT])[0]
print(fill(f"without it says: {blind_words}", 90), "\n")

present = [x.things[0].shape for x in described]
absent = [next(s for s in SHAPES if s not in {t.shape for t in x.things}) for x in described]
yes = {}
for title, shapes in (("there", present), ("not there", absent)):
    polled = [f"is there {with_article(shape)} in the image?" for shape in shapes]
    both = vlm.answers(looked, polled).count("yes"), vlm.answers(None, polled).count("yes")
    yes[title] = both
    print(f"yes to what is {title:9}: {both[0]:3} of 200, without the picture {both[1]:3}")

# %% [markdown]
# A whole scene, with colours, sizes and places, and nothing was there. (Its grammar stumbles: since
# stage 0 it has never been asked without a picture.) And a right *no* proves nothing where the same
# model says it without looking: a test of sight needs both kinds of question, and the blind model
# beside it.
#
# ## What does it cost?
#
# Count products: each weight of a block is used once for each token, and attention adds two for
# each channel and pair of tokens.

# %%
decoder = vlm.model.decoder
weights_of_blocks = sum(p.data.size for block in decoder.blocks for p in block.parameters())
width, layers = decoder.config.width, decoder.config.layers
prompt = vlm.prompt([about_picture(question)])
read = len(prompt) * weights_of_blocks + 2 * layers * width * len(prompt) ** 2 // 2
print(f"{np.sum(prompt == image_token)} of the question's {len(prompt)} tokens are the picture's")
print(f"to read it: {read / 1e6:.1f} million products, for each question and picture")
print(f"CLIP, once pictures are embedded: {clip.model.config.embed} products a picture")

# %% [markdown]
# And in the large. LLaVA-1.5 reads 24 × 24 patches as 576 tokens
# ([Liu et al. 2023](https://arxiv.org/abs/2310.03744)). Twice the side is four times the tokens;
# who cuts a large picture into four tiles and adds the whole has five times 576.

# %%
visual = np.arange(4, 65) ** 2
blocks, wide, text = 6.5e9, 4096, 64  # a model of 7 billion, and a question
matrices, pairs_cost = visual * blocks, 32 * wide * (visual + text) ** 2
figure = new_figure(6.4, 2.9)
axes = figure.subplots()
axes.plot(visual, (matrices + text * blocks) / 1e12, color=BLUE, label="weights × tokens")
axes.plot(visual, pairs_cost / 1e12, color=ORANGE, label="attention, tokens²")
for tokens, label in ((576, "576: LLaVA-1.5"), (2880, "2,880: five tiles")):
    axes.axvline(tokens, color=GRAY, linestyle="--", linewidth=0.8)
    axes.text(tokens + 40, 15, label, fontsize=9, color=GRAY)
axes.set(xlabel="image tokens", ylabel="10¹² products", ylim=(0, None))
axes.legend(frameon=False, loc="upper center")
print(f"attention costs as much as the weights at {blocks / (32 * wide):,.0f} tokens")
figure

# %% [markdown]
# That is why projectors merge patches, as ours does (36 patches, 9 words; see
# [`minivlm/models/projector.py`](../minivlm/models/projector.py)). At this size it is the weights
# that cost: each token is multiplied with all of them. Attention's square catches up far to the
# right of this picture.
#
# | | contrastive: CLIP | generative: LLaVA |
# |---|---|---|
# | naming one thing | yes | yes |
# | binding, sides, counting, places | no, or barely | yes |
# | search | fast, and weak in crowds | slow, and nearly complete |
# | answers | the ones that you bring | its own, free |
# | without the picture | nothing to compare | it answers all the same |
# | a million pictures | a dot product each | a reading each, for every question |
#
# One thing is not fair in this: the talker was taught these very questions, and CLIP only saw
# captions. Neither is the better one; the second is built on the first. The figures of all tests
# are in [`docs/side_by_side.md`](../docs/side_by_side.md).
#
# ## Change this line and predict
#
# 1. In stage 1, set up `stages.instruction` in place of `stages.alignment`. Which bars appear in
#    the second panel? Why would one not want it when the language model is a good one?
# 2. Set `rank=1` for LoRA. How many singular values are left, and how much does the loss lose by
#    it?
# 3. The patches carry the eye's positions, and the projector adds positions of its own. Where the
#    two are described, turn the patches' order around: `vlm.look(two)[:, ::-1]`. Which of the two
#    does the model believe, what is on the left now? And what comes through, colours or shapes?
#
# ## What was claimed

# %%
assert soft.shape == (1, 9, 64)
assert (ids == image_token).sum() == 9
np.testing.assert_array_equal(spliced[0, ids[0] == image_token], soft[0])
np.testing.assert_array_equal(spliced[0, ids[0] != image_token], words[0, ids[0] != image_token])
assert cosines.max() < 0.6
assert [vocabulary[p.argmax()] for _, p in panels[:2]] == ["red", "blue"]
looks = dict(zip(reversed(said), reversed(brightest), strict=True))  # of two, the first
assert looks["large"] == looks["red"] == looks["circle"] == "left"
assert looks["blue"] == looks["star"] == "right"
assert looks["left"] == looks["right"] == "center"
assert alike > 0.8
assert panels[2][1].max() < min(p.max() for _, p in panels[:2])
assert vocabulary[panels[2][1].argmax()] == "green"
assert not sample.learnt[sample.ids == image_token].any()
reading_moved, alignment_moved, instruction_moved = changes.values()
assert all(each["eye"] == 0 for each in changes.values())
assert reading_moved["projector"] == 0 < reading_moved["blocks"]
assert (
    alignment_moved["blocks"] == alignment_moved["word table"] == 0 < alignment_moved["projector"]
)
assert min(instruction_moved["projector"], instruction_moved["blocks"]) > 0
assert wanted[names.index("<answer>")] == "yes"
assert wanted[names.index("<end>")] is None
assert untouched
assert by_lora[3] > 100 * by_lora[4]
assert log[0].loss - log[-1].loss > 0.2
assert by_full[20] > 100 * by_lora[4]
assert same_eye
assert min(by_clip[0].value, by_talker[0]) > 0.95
for score, talker, guessed in zip(by_clip[1:], by_talker[1:], blind[1:], strict=True):
    assert talker > max(0.95, score.value + 0.3, guessed + 0.3)
for guessed, kinds_of_answer in zip(blind, (64, 8, 2, 3, 9), strict=True):
    assert guessed < 1 / kinds_of_answer + 0.05
assert np.mean(found["CLIP"]) < 0.6 < 0.95 < np.mean(found["talker"])
assert np.mean(truth_of_yes) > 0.9
assert np.median(ms["talker"]) > 5 * np.median(ms["CLIP"])
assert circles > said_yes[1] > 0.8 * circles > 2 * said_yes[0]
assert set(vlm.answers(None, exams[3][1])) == {"one"}
assert {word for word in COLORS if word in blind_words}  # it speaks of things
assert with_it.exact > 0.9
assert with_it.chair < 0.03
assert without.exact == 0
assert without.chair > 0.8
assert yes["there"][0] > 190 > 10 > yes["not there"][0]
assert abs(yes["there"][1] - yes["not there"][1]) < 60
assert (pairs_cost < matrices)[visual <= 4096].all()

# %% [markdown]
# **Next:** [11 · A GPU in slow motion](11_a_gpu_in_slow_motion.ipynb): all of this is matrix
# products, and so: who computes them, and why does it matter in which order they read?

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
import subprocess
import sys

if importlib.util.find_spec("minivlm") is None:  # a bare kernel in a clone, such as Colab's
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-e", "..[notebooks]"], check=True)

# %%
from copy import deepcopy
from dataclasses import replace

import numpy as np

from minivlm.data.chat import Turn, next_token_labels
from minivlm.data.draw import draw, make_scenes
from minivlm.data.lessons import PROMPT, about_picture, captioning, instruction, reading
from minivlm.data.phrases import listed, name_of, with_article
from minivlm.data.scenes import HELD_OUT, PLACES, SHAPES, Scene, Thing
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
# the token after it, but only underlined ones count in the loss: those of the answers, with the
# `<end>` that closes each. Questions come from the user, and pictures cannot be spelt.

# %%
conversation = instruction(scenes[0], 3, np.random.default_rng(2))
sample = vlm.sample(conversation)
image_token = vlm.model.config.image_token
names = [vocabulary[i] for i in sample.ids]
kinds = [
    "image" if i == image_token else "answer" if counts else "prompt"
    for i, counts in zip(sample.ids, sample.learnt, strict=True)
]
token_strip([name.replace("\n", "↵") for name in names], kinds, sample.learnt.tolist())

# %% [markdown]
# The labels that the loss gets are the ids, one place to the left, with −100 (`IGNORE`) where
# nothing is learnt. Here is where they pick up an answer, and where they leave it.

# %%
labels = next_token_labels(sample.ids[None], sample.learnt[None], IGNORE)[0]
first = int(np.flatnonzero(labels != IGNORE)[0])
for at in range(first - 2, first + 4):
    label = names[at + 1] if labels[at] != IGNORE else "–"
    print(f"reads {names[at]!r:14} learns to say {label!r}")
print(f"{sample.learnt.sum()} of {len(sample.ids)} tokens are learnt")

# %% [markdown]
# ## What each stage changes
#
# LLaVA finds a language model and an eye ready-made. Ours has to learn to read first (stage 0,
# text alone). Then, with *all else frozen*, the projector learns to caption (stage 1): the
# language model cannot adapt to the eye's nonsense, so the projector must learn to talk sense.
# Only then both learn to answer (stage 2). Here is a new model, and a few dozen steps of each
# stage: far too few to get good, enough to see who moves.

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
batches = []
start = {}  # the model's weights before each stage
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
# start, rank 4.

# %%
small.load_state_dict(start[2])
stage = stages.instruction_by_lora(small, 0.01, rank=4, alpha=16.0, rng=np.random.default_rng(0))
bases = {name: p.data.copy() for name, p in small.named_parameters().items() if ".base." in name}
replicas = Replicas(small, 1)
log = list(stages.steps(stage, replicas, batches, len(batches)))
replicas.close()
untouched = all(np.array_equal(small.named_parameters()[n].data, bases[n]) for n in bases)
detours = sum(p.data.size for p in lora_parameters(small.decoder).values())
print(f"loss {log[0].loss:.2f} → {log[-1].loss:.2f}")
print(f"{detours:,} numbers in detours, for {small.decoder.size() - detours:,} of the decoder")
print(f"the matrices are untouched: {untouched}")
merge_lora(small.decoder)
merged = deepcopy(small.state_dict())

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
axes.set(xlabel="singular value, by rank", ylabel="size", title="the change of one matrix")
axes.legend(frameon=False)
figure

# %% [markdown]
# LoRA's change has four directions and not one more. In these few steps, at this one learning rate,
# it has got less far than the full stage; whether another rate would help was not tried.
#
# ## What the picture does to the next word
#
# Back to the trained talker. Notebook 08 ended with a question: CLIP's eye, its mean over all
# patches, could not tell *a red circle and a blue square* from the same with the colours
# exchanged. LLaVA reads the patches of that very eye. Do they still know who is red?

# %%
at = {"size": "large", "texture": "solid", "y": 0.5, "radius": 0.155}
circle = Thing("circle", "red", cell=3, x=1 / 6, **at)
square = Thing("square", "blue", cell=5, x=5 / 6, **at)
scene = Scene((circle, square), "black")
swapped = Scene((replace(circle, color="blue"), replace(square, color="red")), "black")
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
# Without a picture it does what a language model does, and says what is likely. That it answers
# at all is **hallucination** in its purest form: same model, same assurance, nothing there.
#
# ## From a word to its patches
#
# Each word of a description, and where the model looked when it chose it: the mean over all
# blocks and heads, in per cent.

# %%
chat = Chat(vlm, two[0])
caption = "".join(chat.ask(PROMPT))
said, weights = attention_of(vlm, chat.seen, chat.turns)
some = [i for i, word in enumerate(said) if word in ("red", "circle", "left", "blue", "square")]
answer_attention(two[0], caption, [said[i] for i in some], weights[some])

# %% [markdown]
# Attention is not an explanation (a mean over heads hides a lot, [notebook
# 06](06_what_a_vit_looks_at.ipynb)), but see which of the nine places is brightest. Colours and
# shapes look at the thing that they speak of. The place word does not look at its place.

# %%
for i in some:
    row, column = np.unravel_index(weights[i].argmax(), weights[i].shape)
    print(f"{said[i]:8} row {row + 1}, column {column + 1}, of 3")

# %% [markdown]
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

# %%
embedded = clip.image_embeddings(pictures)
by_clip = [
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

rows = ["binding: what color is it?", "left or right?", "two, three or four?", "where, of nine?"]
figure = new_figure(7.2, 3.4)
axes = figure.subplots()
heights = np.arange(len(rows))
bars = [
    ("CLIP, chooses", [score.value for score in by_clip], ORANGE),
    ("the talker, says", by_talker, BLUE),
    ("the talker, no picture", blind, GRAY),
]
for offset, (label, shares, color) in zip((-0.27, 0, 0.27), bars, strict=True):
    axes.barh(heights + offset, shares, height=0.25, color=color, label=label)
    for height, share in zip(heights + offset, shares, strict=True):
        axes.text(share + 0.01, height, f"{share:.0%}", va="center", fontsize=9)
for height, score in zip(heights, by_clip, strict=True):
    axes.plot([score.chance] * 2, [height - 0.42, height - 0.13], color="black", linewidth=2)
axes.set_yticks(heights, rows)
axes.invert_yaxis()
axes.set(xlim=(0, 1.12), xticks=np.linspace(0, 1, 6), xlabel="right (black: CLIP by guessing)")
figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
figure

# %% [markdown]
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

present = [x.things[0].shape for x in described]
absent = [next(s for s in SHAPES if s not in {t.shape for t in x.things}) for x in described]
yes = {}
for title, shapes in (("there", present), ("not there", absent)):
    polled = [f"is there {with_article(shape)} in the image?" for shape in shapes]
    both = vlm.answers(looked, polled).count("yes"), vlm.answers(None, polled).count("yes")
    yes[title] = both
    print(f"yes to what is {title:9}: {both[0]:3} of 200, without the picture {both[1]:3}")

# %% [markdown]
# The made-up ones come with the same assurance, so assurance proves nothing. And a right *no*
# proves nothing either where the same model says it without looking: a test of sight needs both
# kinds of question, and the blind model beside it.
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
# ([Liu et al. 2023](https://arxiv.org/abs/2310.03744)). Twice the side is four times the tokens.

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
    axes.text(tokens + 30, 10, label, fontsize=9, color=GRAY)
axes.set(xlabel="image tokens", ylabel="10¹² products", ylim=(0, None))
axes.legend(frameon=False, loc="upper center")
figure

# %% [markdown]
# That is why projectors merge patches, as ours does (36 patches, 9 words; see
# [`minivlm/models/projector.py`](../minivlm/models/projector.py)). For this size it is the weights
# that cost, and the tokens' number enters once; attention's square only catches up later.
#
# | | contrastive: CLIP | generative: LLaVA |
# |---|---|---|
# | binding, places, counting | no, or barely | yes |
# | answers | the ones that you bring | its own, free |
# | without the picture | nothing to compare | it says something likely all the same |
# | a million pictures | a dot product each | a reading each, for every question |
#
# Neither is the better one; the second is built on the first. The figures of all tests are in
# [`docs/side_by_side.md`](../docs/side_by_side.md).
#
# ## Change this line and predict
#
# 1. In stage 1, set up `stages.instruction` in place of `stages.alignment`. Which bars appear in
#    the second panel? Why would one not want it when the language model is a good one?
# 2. Set `rank=1` for LoRA. How many singular values are left, and how does the loss do?
# 3. The patches carry the eye's positions, and the projector adds positions of its own. Where the
#    two are described, turn the patches' order around: `vlm.look(two)[:, ::-1]`. Which of the two
#    does the model believe, what is on the left now?
#
# ## What was claimed

# %%
assert soft.shape == (1, 9, 64)
assert (ids == image_token).sum() == 9
np.testing.assert_array_equal(spliced[0, ids[0] == image_token], soft[0])
np.testing.assert_array_equal(spliced[0, ids[0] != image_token], words[0, ids[0] != image_token])
assert cosines.max() < 0.6
assert [vocabulary[p.argmax()] for _, p in panels[:2]] == ["red", "blue"]
looks = {said[i]: int(weights[i].argmax()) for i in some}
assert looks["red"] == looks["circle"] == 3
assert looks["blue"] == looks["square"] == 5
assert looks["left"] != 3
assert not sample.learnt[sample.ids == image_token].any()
reading_moved, alignment_moved, instruction_moved = changes.values()
assert all(each["eye"] == 0 for each in changes.values())
assert reading_moved["projector"] == 0 < reading_moved["blocks"]
assert (
    alignment_moved["blocks"] == alignment_moved["word table"] == 0 < alignment_moved["projector"]
)
assert min(instruction_moved["projector"], instruction_moved["blocks"]) > 0
assert untouched
assert by_lora[3] > 100 * by_lora[4]
assert by_full[20] > 100 * by_lora[4]
assert same_eye
for score, talker, guessed in zip(by_clip, by_talker, blind, strict=True):
    assert talker > max(0.9, score.value + 0.3, guessed + 0.3)
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

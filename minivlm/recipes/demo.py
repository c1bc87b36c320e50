"""`minivlm demo`: from nothing to a model that looks at a picture and answers, before one's eyes.

    runs/demo/clip           a run of `train clip`
    runs/demo/vlm            a run of `train vlm` on its eye, and its scores
    runs/demo/report.html    all of it on one page, written anew after each step

Each part goes on where it was, so the whole does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from minivlm.files import read_json, write_json
from minivlm.recipes.eval_vlm import examples, tables
from minivlm.recipes.measure_vlm import fresh_scenes, measure_vlm
from minivlm.recipes.report import write_report
from minivlm.recipes.settings import defaults_for
from minivlm.recipes.train_clip import train_clip
from minivlm.recipes.train_vlm import train_vlm
from minivlm.recipes.trained_vlm import TrainedVLM
from minivlm.recipes.use_vlm import Chat
from minivlm.recipes.vlm_settings import VlmSettings
from minivlm.train.run import run_folder

QUICK_STEPS = 500  # of the two towers, where they are all there is

Tell = Callable[[str], None]


def demo(folder: Path, seed: int, quick: bool, tell: Tell) -> None:
    """Train, measure and report, or go on with it.

    Args:
        folder: made if missing.
        seed: of everything.
        quick: only the two towers, with fewer steps.
        tell: gets sentences for the user.

    Raises:
        InputError: the folder is in use, or holds other runs.
        Interrupted: Ctrl-C; the same call goes on from there.
    """
    began = time.perf_counter()
    with run_folder(folder):
        towers(folder, seed, quick, tell)
        if not quick:
            tongue(folder, seed, tell)
            answers(folder, tell)
        write_report(folder)
    minutes = (time.perf_counter() - began) / 60
    tell(f"\n{minutes:.1f} minutes. Open {folder / 'report.html'} in a browser.")
    if not quick:
        tell(f'Ask it: minivlm ask --model {folder / "vlm"} IMAGE "what do you see?"')


def towers(folder: Path, seed: int, quick: bool, tell: Tell) -> None:
    """Step 1: two towers that match pictures and texts."""
    if (folder / "clip" / "scores.json").exists():
        tell("Two towers: done before.")
        return
    tell("Step 1 of 3: two towers learn which text belongs to which picture.")
    settings = replace(defaults_for("scenes"), seed=seed)
    if quick:
        settings = replace(settings, steps=QUICK_STEPS)
    scores = {score.name: score for score in train_clip(settings, folder / "clip", tell)}
    named, unseen = scores["zero-shot of 64"], scores["zero-shot of 64, unseen pairs"]
    found = scores["text recall@1 of 256"]
    tell(
        f"It names one thing in a picture among 64 that it may be: {named.value:.0%} right "
        f"(guessing: {named.chance:.0%}), and {unseen.value:.0%} of colours and shapes that it "
        f"never saw together. It finds the text of a picture among 256 in {found.value:.0%}."
    )
    tell(f"See {folder / 'clip' / 'similarity.png'}: the diagonal lights up.")
    write_report(folder)


def tongue(folder: Path, seed: int, tell: Tell) -> None:
    """Step 2: the eye of the first tower learns to talk, in three stages."""
    if (folder / "vlm" / "model.safetensors").exists():
        tell("Talking: done before.")
        return
    tell("\nStep 2 of 3: the eye learns to talk.")
    settings = VlmSettings("scenes", clip=str((folder / "clip").resolve()), seed=seed)
    train_vlm(settings, folder / "vlm", tell)
    write_report(folder)


def answers(folder: Path, tell: Tell) -> None:
    """Step 3: ask it about pictures that it never saw, and look at where its words come from."""
    if (folder / "vlm" / "scores.json").exists():
        tell("Measuring: done before.")
        for line in read_json(folder / "vlm" / "tables.json"):
            tell(line)
        return
    tell("\nStep 3 of 3: questions about pictures that it never saw.")
    vlm = TrainedVLM.load(folder / "vlm")
    things = vlm.settings.things
    measured = measure_vlm(vlm, things)
    lines = list(tables(measured))
    for line in lines:
        tell(line)
    chosen = examples(measured.asked)
    scenes, images = fresh_scenes(vlm, things, measured.captions.count // things, measured.seed)
    write_json(folder / "vlm" / "examples.json", [asdict(asked) for asked in chosen])
    write_json(folder / "vlm" / "tables.json", lines)
    two = next(i for i, scene in enumerate(scenes) if len(scene.things) == things)
    question = f"where is the {scenes[two].things[-1].color} {scenes[two].things[-1].shape}?"
    chat = Chat(vlm, images[two])
    tell(f"\n{question} {''.join(chat.ask(question))}")
    chat.write_attention(folder / "vlm" / "attention.png")
    write_json(folder / "vlm" / "scores.json", measured.to_json())

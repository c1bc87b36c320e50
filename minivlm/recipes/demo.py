"""`minivlm demo`: from nothing to a model that looks at a picture and answers, before one's eyes.

    runs/demo/clip           a run of `train clip`
    runs/demo/vlm            a run of `train vlm` on its eye, and its scores
    runs/demo/report.html    all of it on one page, written anew after each step

Each part goes on where it was, so the whole does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from minivlm.data.lessons import PROMPT
from minivlm.files import read_json, write_json
from minivlm.recipes.eval_vlm import examples, tables
from minivlm.recipes.folders import check_same
from minivlm.recipes.measure_vlm import fresh_scenes, measure_vlm
from minivlm.recipes.report import is_measured, write_report
from minivlm.recipes.settings import ClipSettings, defaults_for
from minivlm.recipes.tasks import open_task
from minivlm.recipes.train_clip import measure, train_clip
from minivlm.recipes.train_vlm import train_vlm
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.recipes.trained_vlm import TrainedVLM, load_settings
from minivlm.recipes.use_vlm import Chat
from minivlm.recipes.vlm_settings import VlmSettings
from minivlm.train.run import run_folder

QUICK_STEPS = 500  # of the two towers, where they are all there is
STEPS, SCENES = 1200, 16000  # of the two towers, where their eye is to learn to talk
TESTED = 150  # scenes of each number of things

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a demo trains and how much it measures.

    Attributes:
        clip: the two towers.
        vlm: the model that talks, with the eye of the first tower; None for the towers alone.
        tested: test scenes of each number of things.
    """

    clip: ClipSettings
    vlm: VlmSettings | None
    tested: int = TESTED

    @classmethod
    def usual(cls, folder: Path, seed: int, quick: bool) -> Plan:
        """The sizes that were found to do well in a few minutes; see docs/training.md."""
        towers = replace(defaults_for("scenes"), seed=seed)
        if quick:
            return cls(replace(towers, steps=QUICK_STEPS), None)
        towers = replace(towers, steps=STEPS, examples=SCENES)
        eye = str((folder / "clip").resolve())
        return cls(towers, VlmSettings("scenes", clip=eye, seed=seed, examples=SCENES))


def demo(folder: Path, plan: Plan, tell: Tell) -> None:
    """Train, measure and report, or go on with it.

    Args:
        folder: made if missing.
        plan: what to train.
        tell: gets sentences for the user.

    Raises:
        InputError: the folder is in use, or holds other runs.
        Interrupted: Ctrl-C; the same call goes on from there.
    """
    began = time.perf_counter()
    with run_folder(folder):
        towers(folder, plan.clip, tell)
        if plan.vlm is not None:
            tongue(folder, plan.vlm, tell)
            answers(folder, plan.tested, tell)
        write_report(folder)
    minutes = (time.perf_counter() - began) / 60
    tell(f"\n{minutes:.1f} minutes. Open {folder / 'report.html'} in a browser.")
    if plan.vlm is not None:
        tell(f'Ask it: minivlm ask --model {folder / "vlm"} IMAGE "what do you see?"')


def towers(folder: Path, settings: ClipSettings, tell: Tell) -> None:
    """Step 1: two towers that match pictures and texts."""
    run = folder / "clip"
    if (run / "scores.json").exists():
        check_same(run, settings, TrainedCLIP.load_settings)
        tell("Two towers: done before.")
        return
    tell("Step 1 of 3: two towers learn which text belongs to which picture.")
    if (run / "model.safetensors").exists():  # it was stopped while it was measured
        check_same(run, settings, TrainedCLIP.load_settings)
        found = measure(TrainedCLIP.load(run), open_task(settings), run)
    else:
        found = train_clip(settings, run, tell)
    scores = {score.name: score for score in found}
    named, unseen = scores["zero-shot of 64"], scores["zero-shot of 64, unseen pairs"]
    recall = scores["text recall@1 of 256"]
    tell(
        f"It names one thing in a picture among 64 that it may be: {named.value:.0%} right "
        f"(guessing: {named.chance:.0%}), and {unseen.value:.0%} of colours and shapes that it "
        f"never saw together. It finds the text of a picture among 256 in {recall.value:.0%}."
    )
    tell(f"See {run / 'similarity.png'}: the diagonal lights up.")
    write_report(folder)


def tongue(folder: Path, settings: VlmSettings, tell: Tell) -> None:
    """Step 2: the eye of the first tower learns to talk, in three stages."""
    if (folder / "vlm" / "model.safetensors").exists():
        check_same(folder / "vlm", settings, load_settings)
        tell("Talking: done before.")
        return
    tell("\nStep 2 of 3: the eye learns to talk.")
    train_vlm(settings, folder / "vlm", tell)
    write_report(folder)
    tell(
        f"See {folder / 'vlm' / 'stages.png'} for the losses, and {folder / 'report.html'} for "
        f"captions of the same pictures after stages 1 and 2."
    )


def answers(folder: Path, tested: int, tell: Tell) -> None:
    """Step 3: ask it about pictures that it never saw, and look at where its words come from."""
    if is_measured(folder / "vlm"):
        tell("Measuring: done before.")
        for line in read_json(folder / "vlm" / "tables.json"):
            tell(line)
        return
    tell("\nStep 3 of 3: questions about pictures that it never saw.")
    vlm = TrainedVLM.load(folder / "vlm")
    things = vlm.settings.things
    measured = measure_vlm(vlm, things, tested)
    lines = list(tables(measured))
    for line in lines:
        tell(line)
    chosen = examples(measured.asked)
    scenes, images = fresh_scenes(vlm, things, tested, measured.seed)
    write_json(
        folder / "vlm" / "examples.json",
        {"seed": measured.seed, "tested": tested, "asked": [asdict(asked) for asked in chosen]},
    )
    write_json(folder / "vlm" / "tables.json", lines)
    full = next(i for i, scene in enumerate(scenes) if len(scene.things) == things)
    chat = Chat(vlm, images[full])
    tell(f"\n{PROMPT} {''.join(chat.ask(PROMPT))}")
    if chat.turns[-1].text:
        chat.write_attention(folder / "vlm" / "attention.png")
        tell(f"See {folder / 'vlm' / 'attention.png'}: what each of these words looked at.")
    write_json(folder / "vlm" / "scores.json", measured.to_json())

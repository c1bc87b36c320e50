"""`minivlm pretrain`: a demo with more of everything, packed into the models that minivlm ships.

Packed, a model has half the bytes: float16, without optimizers and logs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from minivlm.files import read_json, write_json
from minivlm.recipes.demo import Plan, demo
from minivlm.recipes.measure_vlm import TESTED
from minivlm.recipes.pretrained import PRETRAINED_CLIP, PRETRAINED_VLM
from minivlm.recipes.settings import defaults_for
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.recipes.trained_vlm import TrainedVLM
from minivlm.recipes.vlm_settings import MOST_SCENE, VlmSettings

Tell = Callable[[str], None]


def pretrain(folder: Path, plan: Plan, tell: Tell) -> None:
    """Train and measure, or go on with it; then pack what was made.

    Args:
        folder: made if missing; the packed models are in its folder `packed`.
        plan: what to train.
        tell: gets sentences for the user.

    Raises:
        InputError: the folder is in use, or holds other runs.
        Interrupted: Ctrl-C; the same call goes on from there.
    """
    demo(folder, plan, tell)
    packed = folder / "packed"
    pack_clip(folder / "clip", packed / PRETRAINED_CLIP.name)
    pack_vlm(folder / "vlm", packed / PRETRAINED_VLM.name)
    tell(f"Packed: {packed}")


def shipped_plan(folder: Path, seed: int) -> Plan:
    """What the models that come with minivlm were made by; see docs/training.md."""
    towers = replace(defaults_for("scenes"), seed=seed, steps=3000, examples=40000)
    vlm = VlmSettings(
        "scenes",
        clip=str((folder / "clip").resolve()),
        seed=seed,
        things=MOST_SCENE,
        examples=40000,
        reading_steps=800,
        alignment_steps=300,
        instruction_steps=15000,
    )
    return Plan(towers, vlm, TESTED)


def pack_clip(run: Path, folder: Path) -> None:
    """Write the two towers of a finished run, and their scores, into a folder."""
    _pack(TrainedCLIP.load(run), run, folder)


def pack_vlm(run: Path, folder: Path) -> None:
    """Write the talking model of a finished run, and its scores, into a folder."""
    vlm = TrainedVLM.load(run)
    vlm.settings = replace(vlm.settings, clip=PRETRAINED_CLIP.name)  # the folder beside it
    _pack(vlm, run, folder)


def _pack(trained: TrainedCLIP | TrainedVLM, run: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    trained.save_config(folder)
    trained.save_weights(folder, np.float16)
    write_json(folder / "scores.json", read_json(run / "scores.json"))

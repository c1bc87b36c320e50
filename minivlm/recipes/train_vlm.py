"""`minivlm train vlm`: an eye that can see learns to talk, in three stages.

Every stage leaves its checkpoint in the folder, so a run that was interrupted goes on in the stage
and at the step where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from minivlm.data.chat import next_token_labels, padded
from minivlm.data.lessons import PROMPT
from minivlm.errors import InputError
from minivlm.files import write_json
from minivlm.models.llava import LLaVA
from minivlm.nn.lora import lora_parameters, merge_lora
from minivlm.ops.losses import IGNORE
from minivlm.recipes.folders import check_folder
from minivlm.recipes.lessons import Lessons, Talk, open_lessons
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.recipes.trained_vlm import SPECIALS, TrainedVLM, load_settings, model_config
from minivlm.recipes.vlm_settings import VlmSettings
from minivlm.tensor import Array
from minivlm.tensorfile import write_arrays
from minivlm.tokenizers.bpe import BPE
from minivlm.train import stages
from minivlm.train.log import Log, Progress
from minivlm.train.parallel import Replicas, even_work
from minivlm.train.run import Interrupted, run_folder, stop_on_interrupt
from minivlm.train.saving import load_checkpoint, save_checkpoint
from minivlm.train.stages import Stage, Texts

CHECKPOINTS = 20  # spread over a stage

Tell = Callable[[str], None]


def train_vlm(settings: VlmSettings, folder: Path, tell: Tell) -> TrainedVLM:
    """Train, or go on training, in a run folder.

    Args:
        settings: what to train.
        folder: the run folder, made if missing.
        tell: gets sentences for the user.

    Raises:
        InputError: the data is bad, or the folder is in use, finished or of another run.
        Interrupted: Ctrl-C; the same call goes on from there.
    """
    check_folder(folder, settings, load_settings, "minivlm eval vlm")
    vlm, lessons = begin(settings)
    if settings.lora > (width := vlm.model.config.decoder.width):
        raise InputError(f"lora {settings.lora} is more than the width {width}")
    lessons.check(vlm.sample)
    for note in lessons.notes:
        tell(note)
    with run_folder(folder):
        vlm.save_config(folder)
        features = vlm.look(lessons.images)
        for number, count in enumerate(settings.steps):
            if count:
                stage = set_up(number, vlm.model, settings)
                run_stage(stage, vlm, lessons, features, folder, tell)
                if number > 0:
                    keep_captions(number, vlm, lessons, folder, tell)
        if settings.lora:
            save_adapter(folder / "adapter.safetensors", vlm.model, settings)
            merge_lora(vlm.model.decoder)
        vlm.save_weights(folder)
    return vlm


def begin(settings: VlmSettings) -> tuple[TrainedVLM, Lessons]:
    """A model before its first step, and what it is going to learn from.

    Raises:
        InputError: the data, the CLIP or the model to start from is missing or bad.
    """
    if settings.start:
        vlm = TrainedVLM.load(Path(settings.start))
        vlm.settings = settings
        return vlm, open_lessons(settings, vlm.model.config.vision.image)
    clip = TrainedCLIP.load(Path(settings.clip))
    if not (Path(settings.clip) / "model.safetensors").exists():  # its eye would still change
        raise InputError(
            f"{settings.clip}: this run is not finished; go on with minivlm train clip"
        )
    vision = clip.model.config.vision
    model_config(settings, vision, len(SPECIALS))  # sizes that do not fit are said at once
    lessons = open_lessons(settings, vision.image)
    tokenizer = BPE.train(lessons.texts(), settings.vocabulary, SPECIALS)
    config = model_config(settings, vision, tokenizer.vocab_size)
    model = LLaVA(config, np.random.default_rng(settings.seed))
    model.vision.load_state_dict(clip.model.vision.state_dict(), settings.clip)
    return TrainedVLM(model, tokenizer, settings), lessons


def set_up(number: int, model: LLaVA, settings: VlmSettings) -> Stage:
    """The stage of that number; see `train.stages`."""
    if number == 0:
        return stages.reading(model, settings.reading_lr)
    if number == 1:
        return stages.alignment(model, settings.alignment_lr)
    if not settings.lora:
        return stages.instruction(model, settings.instruction_lr)
    rng = np.random.default_rng((settings.seed, 30))
    return stages.instruction_by_lora(
        model, settings.instruction_lr, settings.lora, settings.lora_alpha, rng
    )


def run_stage(
    stage: Stage,
    vlm: TrainedVLM,
    lessons: Lessons,
    features: Array,
    folder: Path,
    tell: Tell,
) -> None:
    """Take the steps of a stage that are still to be taken, with checkpoints."""
    count = vlm.settings.steps[stage.number]
    checkpoint = folder / f"stage-{stage.number}.safetensors"
    start = load_checkpoint(checkpoint, vlm.model, stage.optimizer) if checkpoint.exists() else 0
    if start == count:
        return
    moved = sum(p.data.size for p in stage.optimizer.parameters.values())
    tell(f"\nStage {stage.number}, {stage.name}: {stage.moves} ({moved:,} parameters) learns.")
    tell(stage.expect)
    if start:
        tell(f"Going on from step {start} of {count}.")
    every = max(1, count // CHECKPOINTS)
    batches = (
        parts(vlm, lessons.batch(stage.number, step), features) for step in range(start, count)
    )
    with (
        stop_on_interrupt() as stop,
        closing(Replicas(vlm.model, vlm.settings.threads)) as replicas,
        closing(Log(folder / f"stage-{stage.number}.jsonl", start)) as log,
        closing(Progress(count, start)) as bar,
    ):
        for step in stages.steps(stage, replicas, batches, count, start):
            log.write(step)
            bar.show(step)
            done = step.number + 1
            if done % every == 0 or done == count or stop.requested:
                save_checkpoint(checkpoint, vlm.model, stage.optimizer, done)
            if stop.requested:
                raise Interrupted(f"stopped in stage {stage.number} after step {done} of {count}")


def keep_captions(number: int, vlm: TrainedVLM, lessons: Lessons, folder: Path, tell: Tell) -> None:
    """Write down what the model says after a stage, unless that was done before a stop."""
    path = folder / f"captions-{number}.json"
    if path.exists():
        return
    said = vlm.answers(vlm.look(lessons.shown), [PROMPT] * len(lessons.shown))
    write_json(path, said)
    tell(f"What it says of a picture now: {said[0]}")


def parts(vlm: TrainedVLM, talks: list[Talk], features: Array) -> list[Texts]:
    """A batch as the model reads it, in parts of texts of about the same length.

    Raises:
        InputError: a conversation cannot be learnt from; see `training_sample`.
    """
    samples = [(vlm.sample(talk.conversation), talk.pictures) for talk in talks]
    samples.sort(key=lambda pair: len(pair[0].ids))
    made = []
    for part in even_work([len(sample.ids) for sample, _ in samples], vlm.settings.threads):
        ids, learnt = padded([sample for sample, _ in samples[part]], vlm.pad)
        rows = [row for _, pictures in samples[part] for row in pictures]
        labels = next_token_labels(ids, learnt, IGNORE)
        made.append(Texts(ids, labels, features[rows] if rows else None))
    return made


def save_adapter(path: Path, model: LLaVA, settings: VlmSettings) -> None:
    """Write what LoRA learnt, and nothing of what it left alone: detours and projector."""
    arrays = {f"decoder.{n}": p.data for n, p in lora_parameters(model.decoder).items()}
    arrays |= {f"projector.{n}": p.data for n, p in model.projector.named_parameters().items()}
    words = {"rank": str(settings.lora), "alpha": str(settings.lora_alpha)}
    write_arrays(path, arrays, words)

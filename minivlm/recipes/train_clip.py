"""`minivlm train clip`: from pictures and words to a model that has been measured.

The loop at the bottom is the whole of training; what stands around it makes it safe to interrupt.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from minivlm.data.image import pixels
from minivlm.evaluate.score import Score
from minivlm.files import write_json
from minivlm.models.clip import CLIP
from minivlm.recipes.folders import check_folder
from minivlm.recipes.pictures import Moment, write_moment, write_pictures
from minivlm.recipes.settings import ClipSettings
from minivlm.recipes.tasks import Batch, Task, open_task
from minivlm.recipes.trained_clip import TrainedCLIP, model_config
from minivlm.tensor import Array, Tensor
from minivlm.train.accumulate import contrastive_in_chunks
from minivlm.train.log import Log, Progress
from minivlm.train.loop import train
from minivlm.train.muon import Muon
from minivlm.train.optim import SGD, AdamW, Optimizer
from minivlm.train.parallel import Replicas, one_blas_thread, parts_of
from minivlm.train.run import Interrupted, run_folder, stop_on_interrupt
from minivlm.train.saving import load_checkpoint, save_checkpoint
from minivlm.train.schedule import warmup_cosine

CHECKPOINTS = 20  # spread over a run
MOMENTS = (0.0, 0.03, 0.1, 1.0)  # of a run, at which the similarity matrix is kept for its picture

Tell = Callable[[str], None]


def train_clip(settings: ClipSettings, folder: Path, tell: Tell) -> list[Score]:
    """Train, or go on training, in a run folder; then measure and draw.

    Args:
        settings: what to train.
        folder: the run folder, made if missing.
        tell: gets sentences for the user.

    Returns:
        The scores on held-out data, also in `scores.json`.

    Raises:
        InputError: the data is bad, or the folder is in use, finished or of another run.
        Interrupted: Ctrl-C; the same call goes on from there.
    """
    check_folder(folder, settings, TrainedCLIP.load_settings, "minivlm eval clip")
    model_config(settings, settings.vocabulary, end=0)  # sizes that do not fit are said at once
    task = open_task(settings)
    for note in task.notes:
        tell(note)
    with run_folder(folder):
        next(task.batches(0))  # if no batch can be drawn, say so before anything is written
        checkpoint = folder / "checkpoint.safetensors"
        resumed = checkpoint.exists()
        if resumed:
            clip = TrainedCLIP.load(folder)
        else:
            clip = TrainedCLIP.untrained(settings, task.texts())
            clip.save_config(folder)
        model = clip.model
        optimizer = make_optimizer(settings, model.named_parameters())
        start = load_checkpoint(checkpoint, model, optimizer) if resumed else 0
        if resumed:
            tell(f"Going on from step {start} of {settings.steps}.")
        tell(
            f"Training {model.size():,} parameters for {settings.steps} steps; an untrained model "
            f"guesses among {task.batch} texts, a loss of {np.log(task.batch):.2f} nats."
        )
        run_steps(clip, optimizer, task, folder, start)
        clip.save_weights(folder)
        return measure(clip, task, folder)


def run_steps(
    clip: TrainedCLIP, optimizer: Optimizer, task: Task, folder: Path, start: int
) -> None:
    """Take the steps from `start` on, with a checkpoint every now and then."""
    settings, model = clip.settings, clip.model
    checkpoint = folder / "checkpoint.safetensors"
    every = max(1, settings.steps // CHECKPOINTS)
    moments = {round(share * settings.steps) for share in MOMENTS}
    if start == 0:
        write_moment(folder, similarity(clip, task, 0))
        save_checkpoint(checkpoint, model, optimizer, 0)
    with (
        one_blas_thread(),
        stop_on_interrupt() as stop,
        closing(Log(folder / "log.jsonl", start)) as log,
        closing(Progress(settings.steps, start)) as bar,
        closing(Replicas(model, settings.threads)) as replicas,
    ):
        steps = train(
            _in_chunks(clip) if settings.chunk else _in_parallel(clip, replicas),
            itertools.islice(task.batches(start), settings.steps - start),
            optimizer,
            lambda step: warmup_cosine(step, settings.steps),
            after_step=model.clamp_scale,
            start=start,
        )
        for step in steps:
            temperature = model.temperature()
            log.write(step, temperature=temperature)
            bar.show(step, temperature=temperature)
            done = step.number + 1
            if done in moments:
                write_moment(folder, similarity(clip, task, done))
            if done % every == 0 or done == settings.steps or stop.requested:
                save_checkpoint(checkpoint, model, optimizer, done)
            if stop.requested:
                raise Interrupted(f"stopped after step {done} of {settings.steps}")


def measure(clip: TrainedCLIP, task: Task, folder: Path) -> list[Score]:
    """Score the model on held-out data, draw its pictures, and leave both in the folder."""
    scores = task.evaluate(clip)
    write_pictures(folder, clip, task)
    write_json(  # last: where there are scores, all is there
        folder / "scores.json",
        [
            {"name": s.name.strip(), "value": s.value, "chance": s.chance, "count": s.count}
            for s in scores
        ],
    )
    return scores


def make_optimizer(settings: ClipSettings, parameters: dict[str, Tensor]) -> Optimizer:
    """The optimizer that the settings name."""
    if settings.optimizer == "muon":
        return Muon(parameters, lr=settings.lr, adamw_lr=settings.lr / 10)
    if settings.optimizer == "adamw":
        return AdamW(parameters, lr=settings.lr)
    return SGD(parameters, lr=settings.lr)


def similarity(clip: TrainedCLIP, task: Task, step: int) -> Moment:
    """The cosines of every gallery picture with every gallery caption after `step` steps."""
    gallery = task.gallery()
    cosines = clip.image_embeddings(gallery.images) @ clip.text_embeddings(gallery.captions).T
    return Moment(step, cosines)


def _in_parallel(clip: TrainedCLIP, replicas: Replicas[CLIP]) -> Callable[[Batch], float]:
    """The gradient from some pictures on each core; see `train.parallel`."""

    def encode(model: CLIP, part: tuple[Array, Array]) -> tuple[Tensor, Tensor]:
        images, ids = part
        return model.encode_image(pixels(images)), model.encode_text(ids)

    def forward_backward(batch: Batch) -> float:
        ids = clip.ids(batch.captions)
        return replicas.contrastive(
            encode,
            lambda image, text: clip.model.loss_of(image, text, batch.positives),
            [(batch.images[s], ids[s]) for s in parts_of(len(ids), clip.settings.threads)],
        )

    return forward_backward


def _in_chunks(clip: TrainedCLIP) -> Callable[[Batch], float]:
    """The same gradient from `chunk` pictures at a time; see `train.accumulate`."""
    model, chunk = clip.model, clip.settings.chunk

    def forward_backward(batch: Batch) -> float:
        return contrastive_in_chunks(
            model.encode_image,
            model.encode_text,
            lambda image, text: model.loss_of(image, text, batch.positives),
            pixels(batch.images),
            clip.ids(batch.captions),
            chunk,
        )

    return forward_backward

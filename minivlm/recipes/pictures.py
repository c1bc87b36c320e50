"""The pictures in a run folder: how the loss fell, how the diagonal lit up, what is found."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivlm.errors import InputError
from minivlm.files import read_json, write_json
from minivlm.recipes.tasks import Task
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.train.log import read_log
from minivlm.viz.curves import training_curves
from minivlm.viz.sheets import contact_sheet, retrieval_grid
from minivlm.viz.similarity import similarity_moments
from minivlm.viz.style import save_figure

QUERIES = 6  # rows of the retrieval grid


class Moment(NamedTuple):
    """The similarity matrix of the gallery (N, N), cosines, after some steps of training."""

    step: int
    cosines: np.ndarray


def write_moment(folder: Path, moment: Moment) -> None:
    """Keep a moment in the run folder until its picture is drawn."""
    rows = np.round(moment.cosines, 4).tolist()
    write_json(
        folder / f"similarity-{moment.step:06d}.json", {"step": moment.step, "cosines": rows}
    )


def read_moments(folder: Path) -> list[Moment]:
    """The moments of a run, earliest first."""
    moments = []
    for path in sorted(folder.glob("similarity-*.json")):
        value = read_json(path)
        try:
            moments.append(Moment(int(value["step"]), np.array(value["cosines"], np.float32)))
        except (TypeError, KeyError, ValueError):
            raise InputError(f"{path}: not a similarity matrix") from None
    return moments


def write_pictures(folder: Path, clip: TrainedCLIP, task: Task) -> None:
    """Draw everything that a run folder can show."""
    gallery = task.gallery()
    cosines = clip.image_embeddings(gallery.images) @ clip.text_embeddings(gallery.captions).T
    figures = {
        "samples.png": contact_sheet(gallery.images, gallery.captions, columns=4),
        "retrieval.png": retrieval_grid(
            gallery.captions[:QUERIES],
            gallery.images,
            cosines.T[:QUERIES],
            right=np.eye(len(cosines), dtype=bool)[:QUERIES],
        ),
    }
    path = folder / "log.jsonl"
    if path.exists() and (log := read_log(path)):
        figures["training.png"] = training_curves(log, guessing=np.log(task.batch))
    if moments := read_moments(folder):
        figures["similarity.png"] = similarity_moments(moments)
    for name, figure in figures.items():
        save_figure(figure, folder / name)

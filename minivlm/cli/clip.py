"""`minivlm train clip`, `eval clip`, `classify` and `search`: the commands of two towers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from minivlm.cli.options import add_model
from minivlm.errors import InputError
from minivlm.evaluate.score import Score
from minivlm.recipes.pretrained import PRETRAINED_CLIP, is_shipped
from minivlm.recipes.settings import ClipSettings, defaults_for


def add_train(kinds: argparse._SubParsersAction) -> None:
    """The options of `minivlm train clip`."""
    clip = kinds.add_parser(
        "clip",
        help="two towers that match pictures and texts",
        description="Train a CLIP, measure it on held-out data and draw what it learnt. "
        "Ctrl-C saves; the same command again goes on from there.",
    )
    clip.add_argument(
        "--data",
        required=True,
        metavar="WHAT",
        help="scenes (drawn for you), digits (real handwriting, needs minivlm[digits]), or a PATH: "
        "a folder of pictures with a .txt beside each, a CSV or TSV of pictures and captions, "
        "or WebDataset .tar archives",
    )
    clip.add_argument("--out", type=Path, metavar="RUN", help="run folder (runs/clip-DATA)")
    table = clip.add_argument_group("your own captions")
    table.add_argument("--image-column", metavar="NAME", help="column of the picture (filepath)")
    table.add_argument("--caption-column", metavar="NAME", help="column of the caption (title)")
    table.add_argument("--images", metavar="DIR", help="folder that a table's paths start from")
    table.add_argument("--skip-bad", action="store_true", help="leave out what cannot be read")
    sizes = clip.add_argument_group("sizes and training (each kind of data has its defaults)")
    for name, kind, text in (
        ("steps", int, "updates of the weights"),
        ("batch", int, "pairs in a batch"),
        ("chunk", int, "pairs embedded at once: the same gradient in less memory"),
        ("threads", int, "parts of a batch computed at the same time"),
        ("seed", int, "decides weights, batches and scenes"),
        ("lr", float, "learning rate"),
        ("image", int, "side of a picture in pixels"),
        ("patch", int, "side of a patch in pixels"),
        ("width", int, "width of both towers"),
        ("heads", int, "attention heads"),
        ("vision-layers", int, "blocks of the vision tower"),
        ("text-layers", int, "blocks of the text tower"),
        ("embed", int, "width of the joint space"),
        ("vocabulary", int, "most tokens of the tokenizer"),
        ("context", int, "most tokens in a text"),
        ("examples", int, "scenes to draw for training"),
    ):
        default = _defaults(name.replace("-", "_"))
        sizes.add_argument(f"--{name}", type=kind, metavar="N", help=f"{text} ({default})")
    sizes.add_argument("--optimizer", choices=("muon", "adamw", "sgd"))
    sizes.add_argument("--pool", choices=("mean", "class"), help="what vision is read off from")
    clip.set_defaults(run=train_clip)


def _defaults(setting: str) -> str:
    """A setting's default, or one for each kind of data where they differ."""
    kinds = {"scenes": "scenes", "digits": "digits", "your own": "PATH"}
    values = {kind: getattr(defaults_for(data), setting) for kind, data in kinds.items()}
    if len(set(values.values())) == 1:
        return str(values["scenes"])
    return ", ".join(f"{kind}: {value}" for kind, value in values.items())


def add_eval(kinds: argparse._SubParsersAction) -> None:
    """The options of `minivlm eval clip`."""
    clip = kinds.add_parser("clip", help="zero-shot, retrieval and probes")
    clip.add_argument(
        "run_folder",
        type=Path,
        nargs="?",
        default=PRETRAINED_CLIP,
        metavar="RUN",
        help="what train clip wrote; without one, the towers that come with minivlm",
    )
    clip.set_defaults(run=eval_clip)


def add_use(commands: argparse._SubParsersAction) -> None:
    """The options of `minivlm classify` and `search`."""
    classify = commands.add_parser("classify", help="which of some labels fits a picture")
    add_model(classify, "train clip", PRETRAINED_CLIP)
    classify.add_argument("--labels", required=True, metavar="a,b,c", help="separated by commas")
    classify.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        help='such as "a photo of {}"; may be repeated',
    )
    classify.add_argument("pictures", type=Path, nargs="+", metavar="IMAGE")
    classify.set_defaults(run=classify_pictures)

    search = commands.add_parser("search", help="find pictures by a text")
    add_model(search, "train clip", PRETRAINED_CLIP)
    search.add_argument("--top", type=int, default=5, metavar="N", help="how many to show (5)")
    search.add_argument("text")
    search.add_argument("folder", type=Path)
    search.set_defaults(run=search_pictures)


def train_clip(options: argparse.Namespace) -> None:
    """`minivlm train clip`."""
    from minivlm.recipes.train_clip import train_clip

    folder = options.out or Path("runs") / f"clip-{Path(options.data).stem or 'data'}"
    if options.data not in ("scenes", "digits"):
        options.data = str(Path(options.data).resolve())  # the run may be evaluated from elsewhere
    if options.images:
        options.images = str(Path(options.images).resolve())
    given = {f.name: getattr(options, f.name, None) for f in fields(ClipSettings)}
    given = {name: value for name, value in given.items() if value is not None}
    settings = replace(defaults_for(options.data), **given)
    print_scores(train_clip(settings, folder, tell=print))
    print(f"\nModel, log, scores and pictures are in {folder}")


def eval_clip(options: argparse.Namespace) -> None:
    """`minivlm eval clip`."""
    from minivlm.recipes.tasks import open_task
    from minivlm.recipes.train_clip import measure
    from minivlm.recipes.trained_clip import TrainedCLIP

    clip = TrainedCLIP.load(options.run_folder)
    task = open_task(clip.settings)
    for note in task.notes:
        print(note)
    if is_shipped(options.run_folder):
        print_scores(task.evaluate(clip))
        return
    print_scores(measure(clip, task, options.run_folder))
    print(f"\nAlso in {options.run_folder / 'scores.json'}; pictures beside it")


def classify_pictures(options: argparse.Namespace) -> None:
    """`minivlm classify`."""
    from minivlm.recipes.trained_clip import TrainedCLIP
    from minivlm.recipes.use_clip import classify

    labels = [label.strip() for label in options.labels.split(",")]
    clip = TrainedCLIP.load(options.model)
    for picture in classify(clip, labels, options.pictures, options.template or ["{}"]):
        ranked = sorted(zip(picture.probabilities, labels, strict=True), reverse=True)
        print(f"{picture.path}  " + "  ".join(f"{label} {p:.1%}" for p, label in ranked))


def search_pictures(options: argparse.Namespace) -> None:
    """`minivlm search`."""
    from minivlm.recipes.trained_clip import TrainedCLIP
    from minivlm.recipes.use_clip import search

    if options.top < 1:
        raise InputError(f"--top {options.top} is not positive")
    clip = TrainedCLIP.load(options.model)
    for found in search(clip, options.text, options.folder, options.top):
        print(f"{found.cosine:+.3f}  {found.path}")


def print_scores(scores: Sequence[Score]) -> None:
    """A table of scores."""
    width = max(len(score.name) for score in scores)
    print(f"\n{'':{width}}  score  ± s.e.  chance      n")
    for s in scores:
        numbers = f"{s.value:.3f}   {s.standard_error:.3f}   {s.chance:.3f}  {s.count:5}"
        print(f"{s.name:{width}}  {numbers}")

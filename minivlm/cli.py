"""The command `minivlm`: reads options, calls a recipe, prints what it gives.

A user's mistake becomes one sentence and exit status 2; a loss that is no number, 1; too little
memory, 3; Ctrl-C, 130. Anything else is a mistake of ours and keeps its traceback.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from minivlm.errors import InputError
from minivlm.memory import keep_freed_memory
from minivlm.recipes.settings import ClipSettings, defaults_for
from minivlm.train.loop import Diverged

DIVERGED, BAD_INPUT, OUT_OF_MEMORY, INTERRUPTED = 1, 2, 3, 130

DESCRIPTION = """\
minivlm: vision-language models in NumPy that you can read.

start here:
  minivlm train clip --data scenes       draw scenes, train a CLIP on them, measure it (2 minutes)
  minivlm eval clip runs/clip-scenes     the measurements again
  minivlm scenes --show                  what the scenes look like, in the terminal
  minivlm COMMAND --help                 what a command takes
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    keep_freed_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return options.run(options) or 0
    except InputError as error:
        return _fail(BAD_INPUT, str(error))
    except Diverged as error:
        return _fail(DIVERGED, f"training stopped at {error}; a smaller --lr may help")
    except MemoryError as error:
        return _fail(OUT_OF_MEMORY, f"out of memory: {error or 'an array did not fit'}")
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, "interrupted")
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        return _fail(BAD_INPUT, f"{error.filename or 'a file'}: {error.strerror or error}")


def make_parser() -> argparse.ArgumentParser:
    """The options of every command."""
    parser = argparse.ArgumentParser(
        prog="minivlm",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_train(commands)
    _add_eval(commands)
    _add_use(commands)
    _add_data(commands)
    _add_bench(commands)
    return parser


def _add_train(commands: argparse._SubParsersAction) -> None:
    train = commands.add_parser("train", help="train a model")
    kinds = train.add_subparsers(metavar="MODEL", required=True)
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


def _add_eval(commands: argparse._SubParsersAction) -> None:
    evaluate = commands.add_parser("eval", help="measure a trained model on held-out data")
    kinds = evaluate.add_subparsers(metavar="MODEL", required=True)
    clip = kinds.add_parser("clip", help="zero-shot, retrieval and probes")
    clip.add_argument("run_folder", type=Path, metavar="RUN", help="what train clip wrote")
    clip.set_defaults(run=eval_clip)


def _add_use(commands: argparse._SubParsersAction) -> None:
    classify = commands.add_parser("classify", help="which of some labels fits a picture")
    classify.add_argument("--model", type=Path, required=True, metavar="RUN")
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
    search.add_argument("--model", type=Path, required=True, metavar="RUN")
    search.add_argument("--top", type=int, default=5, metavar="N", help="how many to show (5)")
    search.add_argument("text")
    search.add_argument("folder", type=Path)
    search.set_defaults(run=search_pictures)


def _add_data(commands: argparse._SubParsersAction) -> None:
    scenes = commands.add_parser("scenes", help="draw scenes with their captions and questions")
    scenes.add_argument("--count", type=int, default=12, metavar="N")
    scenes.add_argument("--size", type=int, default=96, metavar="PIXELS", help="48 to 384 (96)")
    scenes.add_argument("--things", type=int, metavar="N", help="in each scene, 1 to 9")
    scenes.add_argument("--seed", type=int, default=0)
    scenes.add_argument("--out", type=Path, default=Path("scenes.png"), metavar="PNG")
    scenes.add_argument("--show", action="store_true", help="also draw them in the terminal")
    scenes.set_defaults(run=show_scenes)

    check = commands.add_parser(
        "check-data", help="list every bad row and picture of a data set of captions"
    )
    check.add_argument("path", type=Path)
    check.add_argument("--image-column", metavar="NAME")
    check.add_argument("--caption-column", metavar="NAME")
    check.add_argument("--images", type=Path, metavar="DIR")
    check.set_defaults(run=check_data)


def _add_bench(commands: argparse._SubParsersAction) -> None:
    bench = commands.add_parser("bench", help="speed and memory against PyTorch")
    kinds = bench.add_subparsers(metavar="WHAT", required=True)
    train = kinds.add_parser("train-clip", help="a training step of a tiny CLIP")
    train.add_argument("--repeats", type=int, default=15, metavar="N")
    train.set_defaults(run=bench_train_clip)


def train_clip(options: argparse.Namespace) -> int:
    """`minivlm train clip`."""
    from minivlm.recipes.train_clip import Interrupted, train_clip

    folder = options.out or Path("runs") / f"clip-{Path(options.data).stem or 'data'}"
    if options.data not in ("scenes", "digits"):
        options.data = str(Path(options.data).resolve())  # the run may be evaluated from elsewhere
    if options.images:
        options.images = str(Path(options.images).resolve())
    given = {f.name: getattr(options, f.name, None) for f in fields(ClipSettings)}
    given = {name: value for name, value in given.items() if value is not None}
    settings = replace(defaults_for(options.data), **given)
    try:
        scores = train_clip(settings, folder, tell=print)
    except Interrupted as stop:
        again = f"go on with the same command; {folder} holds the checkpoint"
        return _fail(INTERRUPTED, f"{stop}; {again}")
    _print_scores(scores)
    print(f"\nModel, log, scores and pictures are in {folder}")
    return 0


def eval_clip(options: argparse.Namespace) -> None:
    """`minivlm eval clip`."""
    from minivlm.recipes.tasks import open_task
    from minivlm.recipes.train_clip import measure
    from minivlm.recipes.trained_clip import TrainedCLIP

    clip = TrainedCLIP.load(options.run_folder)
    task = open_task(clip.settings)
    for note in task.notes:
        print(note)
    scores = measure(clip, task, options.run_folder)
    _print_scores(scores)
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


def show_scenes(options: argparse.Namespace) -> None:
    """`minivlm scenes`."""
    from minivlm.recipes.show_scenes import show_scenes

    for line in show_scenes(
        options.count, options.size, options.things, options.seed, options.out, options.show
    ):
        print(line)


def check_data(options: argparse.Namespace) -> int:
    """`minivlm check-data`."""
    from minivlm.data.check import check

    found = check(options.path, options.image_column, options.caption_column, options.images)
    for problem in found.problems:
        print(problem)
    print(found.summary())
    return BAD_INPUT if found.problems else 0


def bench_train_clip(options: argparse.Namespace) -> None:
    """`minivlm bench train-clip`."""
    from minivlm.recipes.bench import bench_train_clip, report

    if options.repeats < 1:
        raise InputError(f"--repeats {options.repeats} is not positive")
    print(report(bench_train_clip(options.repeats)))


def _print_scores(scores: Sequence) -> None:
    width = max(len(score.name) for score in scores)
    print(f"\n{'':{width}}  score  ± s.e.  chance      n")
    for s in scores:
        numbers = f"{s.value:.3f}   {s.standard_error:.3f}   {s.chance:.3f}  {s.count:5}"
        print(f"{s.name:{width}}  {numbers}")


def _fail(status: int, sentence: str) -> int:
    print(f"minivlm: {sentence}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())

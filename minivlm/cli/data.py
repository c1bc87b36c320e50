"""`minivlm scenes`, `check-data`, `show-labels` and `bench`: looking at data, and at the clock."""

from __future__ import annotations

import argparse
from pathlib import Path

from minivlm.cli.status import BAD_INPUT
from minivlm.errors import InputError


def add_data(commands: argparse._SubParsersAction) -> None:
    """The options of the commands on data."""
    scenes = commands.add_parser("scenes", help="draw scenes with their captions and questions")
    scenes.add_argument("--count", type=int, default=12, metavar="N")
    scenes.add_argument("--size", type=int, default=96, metavar="PIXELS", help="48 to 384 (96)")
    scenes.add_argument("--things", type=int, metavar="N", help="in each scene, 1 to 9")
    scenes.add_argument("--seed", type=int, default=0)
    scenes.add_argument("--out", type=Path, default=Path("scenes.png"), metavar="PNG")
    scenes.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="instead of a sheet, a file for each, with captions and conversations to train on",
    )
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


def add_bench(commands: argparse._SubParsersAction) -> None:
    """The options of `minivlm bench`."""
    bench = commands.add_parser("bench", help="speed and memory against PyTorch")
    kinds = bench.add_subparsers(metavar="WHAT", required=True)
    train = kinds.add_parser("train-clip", help="a training step of a tiny CLIP")
    train.add_argument("--repeats", type=int, default=15, metavar="N")
    train.set_defaults(run=bench_train_clip)
    decode = kinds.add_parser("decode", help="writing token by token")
    decode.add_argument("--repeats", type=int, default=5, metavar="N")
    decode.set_defaults(run=bench_decode)


def show_scenes(options: argparse.Namespace) -> None:
    """`minivlm scenes`."""
    from minivlm.recipes.show_scenes import show_scenes
    from minivlm.recipes.write_scenes import write_scenes

    if options.folder:
        write_scenes(options.count, options.size, options.things, options.seed, options.folder)
        print(f"Drawn into {options.folder}: pictures, captions, conversations.json")
        return

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


def bench_decode(options: argparse.Namespace) -> None:
    """`minivlm bench decode`."""
    from minivlm.recipes.bench_decode import bench_decode, report

    if options.repeats < 1:
        raise InputError(f"--repeats {options.repeats} is not positive")
    print(report(bench_decode(options.repeats)))

"""Options that several commands share."""

import argparse
from pathlib import Path


def add_model(command: argparse.ArgumentParser, made_by: str, shipped: Path) -> None:
    """`--model RUN`, which a model that comes with minivlm stands for where it is not given."""
    command.add_argument(
        "--model",
        type=Path,
        default=shipped,
        metavar="RUN",
        help=f"what {made_by} wrote; without it, the model that comes with minivlm",
    )

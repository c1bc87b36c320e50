"""The command `minivlm`: reads options, calls a recipe, prints what it gives.

A user's mistake becomes one sentence and exit status 2; a loss that is no number, 1; too little
memory, 3; Ctrl-C, 130. Anything else is a mistake of ours and keeps its traceback.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from minivlm.cli import clip, data, vlm
from minivlm.cli.status import carry_out
from minivlm.memory import keep_freed_memory

DESCRIPTION = """\
minivlm: vision-language models in NumPy that you can read.

start here:
  minivlm demo                           train a model that sees and talks, and report on it
  minivlm ask IMAGE "what do you see?"   ask the model that comes with minivlm
  minivlm train clip --data scenes       two towers alone (a minute or two)
  minivlm scenes --show                  what the scenes look like, in the terminal
  minivlm COMMAND --help                 what a command takes
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = make_parser().parse_args(arguments)
    keep_freed_memory()
    return carry_out(lambda: options.run(options), "minivlm")


def make_parser() -> argparse.ArgumentParser:
    """The options of every command."""
    parser = argparse.ArgumentParser(
        prog="minivlm",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    vlm.add_demo(commands)
    train = commands.add_parser("train", help="train a model")
    kinds = train.add_subparsers(metavar="MODEL", required=True)
    clip.add_train(kinds)
    vlm.add_train(kinds)
    evaluate = commands.add_parser("eval", help="measure a trained model on held-out data")
    kinds = evaluate.add_subparsers(metavar="MODEL", required=True)
    clip.add_eval(kinds)
    vlm.add_eval(kinds)
    vlm.add_use(commands)
    clip.add_use(commands)
    data.add_data(commands)
    data.add_bench(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The command `minivlm`: reads options, calls a recipe, prints what it gives.

A user's mistake becomes one sentence and exit status 2; a loss that is no number, 1; too little
memory, 3; Ctrl-C, 130. Anything else is a mistake of ours and keeps its traceback.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from minivlm.cli import clip, data, vlm
from minivlm.cli.status import BAD_INPUT, DIVERGED, INTERRUPTED, OUT_OF_MEMORY, fail
from minivlm.errors import InputError
from minivlm.memory import keep_freed_memory
from minivlm.train.loop import Diverged
from minivlm.train.run import Interrupted

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
    parser = make_parser()
    options = parser.parse_args(arguments)
    keep_freed_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return options.run(options) or 0
    except InputError as error:
        return fail(BAD_INPUT, str(error))
    except Diverged as error:
        return fail(DIVERGED, f"training stopped at {error}; a smaller learning rate may help")
    except Interrupted as stop:
        return fail(INTERRUPTED, f"{stop}; the same command goes on from there")
    except MemoryError as error:
        return fail(OUT_OF_MEMORY, f"out of memory: {error or 'an array did not fit'}")
    except KeyboardInterrupt:
        return fail(INTERRUPTED, "interrupted")
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        return fail(BAD_INPUT, f"{error.filename or 'a file'}: {error.strerror or error}")


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

"""How a command ends that does not end well: one sentence, and a status for scripts to read."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

from minivlm.errors import InputError
from minivlm.train.loop import Diverged
from minivlm.train.run import Interrupted

DIVERGED, BAD_INPUT, OUT_OF_MEMORY, INTERRUPTED = 1, 2, 3, 130


def carry_out(command: Callable[[], int | None], program: str) -> int:
    """Run a command; its exit status, or that of what went wrong.

    Args:
        command: gives a status, or None for success.
        program: what the sentence begins with.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return command() or 0
    except InputError as error:
        return fail(BAD_INPUT, str(error), program)
    except Diverged as error:
        sentence = f"training stopped at {error}; a smaller learning rate may help"
        return fail(DIVERGED, sentence, program)
    except Interrupted as stop:
        return fail(INTERRUPTED, f"{stop}; the same command goes on from there", program)
    except MemoryError as error:
        sentence = f"out of memory: {error or 'an array did not fit'}"
        return fail(OUT_OF_MEMORY, sentence, program)
    except KeyboardInterrupt:
        return fail(INTERRUPTED, "interrupted", program)
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        sentence = f"{error.filename or 'a file'}: {error.strerror or error}"
        return fail(BAD_INPUT, sentence, program)


def fail(status: int, sentence: str, program: str = "minivlm") -> int:
    """Say what went wrong, on the error stream; the status."""
    print(f"{program}: {sentence}", file=sys.stderr)
    return status

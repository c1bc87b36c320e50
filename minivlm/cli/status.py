"""How a command ends that does not end well: one sentence, and a status for scripts to read."""

import sys

DIVERGED, BAD_INPUT, OUT_OF_MEMORY, INTERRUPTED = 1, 2, 3, 130


def fail(status: int, sentence: str) -> int:
    """Say what went wrong, on the error stream; the status."""
    print(f"minivlm: {sentence}", file=sys.stderr)
    return status

"""One kind of error for what the user gave us: a file, a row, an option.

The command line prints its message as one sentence and exits with status 2. Any other exception
is a mistake of ours, and keeps its traceback.
"""


class InputError(ValueError):
    """Bad input, said in one sentence that names the file and the line or key."""

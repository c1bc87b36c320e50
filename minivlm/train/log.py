"""What a run writes down of itself: a line of JSON for each step, and a bar on the screen."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from minivlm.errors import InputError
from minivlm.files import write_bytes
from minivlm.train.loop import Step

SMOOTHING = 0.95  # share of the old mean in the loss that the bar shows


class Log:
    """Appends to a file of JSON lines, one a step, until it is closed.

    A run that goes on from a checkpoint takes some steps a second time: lines from `start` on are
    dropped first, and so is a line that a kill cut in half.
    """

    def __init__(self, path: Path, start: int):
        if path.exists():
            kept = [json.dumps(line) + "\n" for line in read_log(path) if line["number"] < start]
            write_bytes(path, "".join(kept).encode())
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115, see close

    def write(self, step: Step, **more: float) -> None:
        """Add a line: the step's numbers, and whatever else is given."""
        self._file.write(json.dumps(asdict(step) | more) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_log(path: Path) -> list[dict[str, float]]:
    """The lines of a log; a last one that is cut short is left out.

    Raises:
        InputError: the file is missing, or another line is not one of ours.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    read = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            if number < len(lines):
                raise InputError(f"{path}, line {number}: not JSON") from None
            break
        if not isinstance(entry, dict) or type(entry.get("number")) is not int:
            raise InputError(f"{path}, line {number}: not a step of a run")
        read.append(entry)
    return read


class Progress:
    """A bar with the smoothed loss, the temperature and the time left, until it is closed."""

    def __init__(self, steps: int, start: int):
        self._bar = tqdm(total=steps, initial=start, unit="step", smoothing=0.1, dynamic_ncols=True)
        self._loss: float | None = None

    def show(self, step: Step, **more: float) -> None:
        """Move on by one step."""
        old = step.loss if self._loss is None else self._loss
        self._loss = SMOOTHING * old + (1 - SMOOTHING) * step.loss
        shown = {"loss": self._loss} | more
        self._bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()

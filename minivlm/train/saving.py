"""Checkpoints: weights, optimizer and step in one file, so that they can never disagree."""

from pathlib import Path

from minivlm.errors import InputError
from minivlm.nn.module import Module
from minivlm.tensorfile import read_arrays, write_arrays
from minivlm.train.optim import Optimizer

MODEL, OPTIMIZER = "model.", "optimizer."  # prefixes of the keys in the file


def save_checkpoint(path: Path, model: Module, optimizer: Optimizer, step: int) -> None:
    """Write everything that the steps to come depend on, atomically.

    Args:
        path: the file to replace.
        model: its weights go under "model.".
        optimizer: its memories go under "optimizer.".
        step: updates made so far.
    """
    arrays = {MODEL + name: array for name, array in model.state_dict().items()}
    arrays |= {OPTIMIZER + name: array for name, array in optimizer.state_dict().items()}
    write_arrays(path, arrays, {"step": str(step)})


def load_checkpoint(path: Path, model: Module, optimizer: Optimizer) -> int:
    """Put a checkpoint's numbers into the model and the optimizer; the updates made so far.

    Raises:
        InputError: the file is damaged, or is of another model or optimizer.
    """
    arrays, metadata = read_arrays(path)
    step = metadata.get("step", "")
    if not step.isdecimal():
        raise InputError(f'{path}: not a checkpoint, its "step" is {step!r}')
    model.load_state_dict(with_prefix(arrays, MODEL), str(path))
    optimizer.load_state_dict(with_prefix(arrays, OPTIMIZER), str(path))
    return int(step)


def with_prefix(arrays: dict, prefix: str) -> dict:
    """The entries whose key begins with the prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

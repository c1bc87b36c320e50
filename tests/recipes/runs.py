"""What is in the run folder of a talking model, and how two of them are compared."""

import signal

import numpy as np

from minivlm.files import read_json
from minivlm.recipes import train_vlm as recipe
from minivlm.tensorfile import read_arrays
from minivlm.train.log import read_log


def quiet(sentence):
    pass


def losses(folder):
    """Of each stage, as far as it came."""
    logs = [folder / f"stage-{number}.jsonl" for number in range(3)]
    return [[line["loss"] for line in read_log(log)] if log.exists() else [] for log in logs]


def weights(folder, name="model.safetensors"):
    return read_arrays(folder / name)[0]


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def same_run(a, b):
    """Whether two folders hold the same bits and say the same, step by step."""
    told = [[read_json(f / f"captions-{n}.json") for n in (1, 2)] for f in (a, b)]
    return losses(a) == losses(b) and same(weights(a), weights(b)) and told[0] == told[1]


def press_ctrl_c(monkeypatch, stage, step):
    """Let the user interrupt while that step is taken."""
    log, honest = f"stage-{stage}.jsonl", recipe.Log.write

    def write(self, at, **more):
        honest(self, at, **more)
        if self._file.name.endswith(log) and at.number == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(recipe.Log, "write", write)

"""Conversations about pictures in LLaVA's format, on disk."""

import json

import numpy as np
from PIL import Image

from minivlm.data.chat import ASSISTANT, USER

TONES = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


def sample(*said, image=None):
    """A sample: a path or a list of paths, and what user and assistant say in turns."""
    turns = [{"from": (USER, ASSISTANT)[i % 2], "value": text} for i, text in enumerate(said)]
    return {"conversations": turns} | ({} if image is None else {"image": image})


def about_color(number, color):
    return sample("<image>\nwhat color is it?", color, "sure?", "yes", image=f"{number}.png")


def picture(folder, name, tone, side=48):
    """A plain picture in which the number of a tone can be read off again."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side, 3), tone, np.uint8)).save(folder / name)


def written(folder, samples):
    """The file of conversations in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "talks.json"
    path.write_text(json.dumps(samples, indent=1), encoding="utf-8")
    return path


def colored(folder, count=24):
    """Pictures of three colours, each with a conversation; the path of the file."""
    colors = [list(TONES)[i % 3] for i in range(count)]
    for i, color in enumerate(colors):
        picture(folder, f"{i}.png", TONES[color])
    return written(folder, [about_color(i, color) for i, color in enumerate(colors)])

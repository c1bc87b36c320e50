"""`minivlm scenes --folder`: scenes as files, to ask about and to train on like one's own pictures.

0000.png, 0000.txt     a picture and its caption, as `train clip --data FOLDER` reads them
conversations.json     questions and answers, as `train vlm --data FILE` reads them
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from minivlm.data.chat import IMAGE, Conversation
from minivlm.data.draw import make_scenes
from minivlm.data.lessons import instruction
from minivlm.data.phrases import caption
from minivlm.errors import InputError
from minivlm.files import write_bytes, write_json
from minivlm.recipes.show_scenes import check_scene_options

MOST = 10_000  # scenes in a folder
TURNS = 4  # questions about each


def write_scenes(count: int, size: int, things: int | None, seed: int, folder: Path) -> None:
    """Write scenes into a new or empty folder.

    Raises:
        InputError: a number is out of its range, or the folder holds something.
    """
    check_scene_options(count, MOST, size, things, seed)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: not an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    scenes, images = make_scenes(count, seed, size, things=things)
    rng = np.random.default_rng((seed, 1))
    digits = max(4, len(str(count - 1)))
    samples = []
    for number, (scene, image) in enumerate(zip(scenes, images, strict=True)):
        name = f"{number:0{digits}}"
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="png")
        write_bytes(folder / f"{name}.png", buffer.getvalue())
        write_bytes(folder / f"{name}.txt", f"{caption(scene, rng)}\n".encode())
        samples.append(_sample(name, instruction(scene, TURNS, rng)))
    write_json(folder / "conversations.json", samples)


def _sample(name: str, talk: Conversation) -> dict:
    """A conversation about the picture of that name, in LLaVA's format."""
    return {
        "id": name,
        "image": f"{name}.png",
        "conversations": [
            {"from": turn.role, "value": IMAGE.join(turn.parts())} for turn in talk.turns
        ],
    }

"""What is in the folder of a demo, and what a reader finds on its report."""

import base64
import io

import numpy as np
from PIL import Image

from tests.viz.pages import Page


def contents(folder):
    """The bytes of each file, in which the folder's own name is left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(str(folder).encode(), b"FOLDER")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def changed(folder, before):
    """The files that came, went or became different; logs have the seconds of each step."""
    after = contents(folder)
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return {name for name in names if not name.endswith(".jsonl")}


def report_of(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def sections(folder):
    """The numbers of the sections of a report."""
    return "".join(heading[0] for heading in report_of(folder).within("h2"))


def pixels(link):
    with Image.open(io.BytesIO(base64.b64decode(link.split(",")[1]))) as image:
        return np.asarray(image)


def cards_of(folder):
    """Of each question on a report: picture, question, answer with its mark, what is right."""
    found, cards = report_of(folder), []
    for tag, text in found.texts:
        if tag == "div" and text.startswith("it is: "):
            cards[-1][-1] = text.removeprefix("it is: ")
        elif tag == "div" and text.strip():
            cards.append([text, "", ""])
        elif tag == "span":
            cards[-1][1] = text
    scenes = [image for image in found.named("img") if image.get("class") == "scene"]
    scenes = scenes[-len(cards) :]
    assert [image["alt"] for image in scenes] == [question for question, _, _ in cards]
    return [(image["src"], *card) for image, card in zip(scenes, cards, strict=True)]

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import pytest
from PIL import ImageFont

from minivlm_kernels.drawings import drawings
from minivlm_kernels.drawings.canvas import HEIGHT, WIDTH

KERNELS = Path(__file__).parents[2] / "kernels"
PACKAGE = KERNELS / "minivlm_kernels"
RUNGS = sorted(
    path.stem
    for folder in ("attention", "contrastive")
    for path in (PACKAGE / folder).iterdir()
    if path.suffix in (".py", ".cu") and path.stem[1:2].isdigit()
)


def test_every_rung_has_its_drawing_and_its_place_in_the_story():
    readme = (KERNELS / "README.md").read_text(encoding="utf-8")
    assert sorted(drawings()) == RUNGS
    for rung in RUNGS:
        assert f"](drawings/{rung}.svg)" in readme, rung


@pytest.mark.parametrize("name", sorted(drawings()))
def test_a_committed_drawing_is_what_the_code_draws(name):
    committed = (KERNELS / "drawings" / f"{name}.svg").read_text(encoding="utf-8")
    assert committed == drawings()[name]


def font(words):
    """The font that the SVG names first, which Matplotlib carries."""
    bold = "-Bold" if words.get("font-weight") == "bold" else ""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{bold}.ttf"
    return ImageFont.truetype(str(path), float(words.get("font-size")))


@pytest.mark.parametrize("name", sorted(drawings()))
def test_nothing_is_drawn_outside_the_picture(name):
    svg = ET.fromstring(drawings()[name])
    for box in svg.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(box.get("x", 0)) + float(box.get("width")) <= WIDTH
        assert float(box.get("y", 0)) + float(box.get("height")) <= HEIGHT
    for words in svg.iter("{http://www.w3.org/2000/svg}text"):
        wide = font(words).getlength(words.text or "")
        left = {"start": 0, "middle": wide / 2, "end": wide}[words.get("text-anchor")]
        assert float(words.get("x")) - left >= 0, words.text
        assert float(words.get("x")) - left + wide <= WIDTH, words.text


def test_the_command_writes_them(tmp_path):
    command = [sys.executable, "-m", "minivlm_kernels.drawings", str(tmp_path)]
    subprocess.run(command, check=True)
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(drawings())

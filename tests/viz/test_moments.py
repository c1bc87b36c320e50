"""The moments of a training: the right cells bright, the right names, the dot where it belongs."""

import io
import re
import xml.etree.ElementTree as ET
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from minivlm.viz.moments import CURVE, LEFT, NAMES, SIDE, training_frames

SVG = "{http://www.w3.org/2000/svg}"
MATRIX = np.array([[1.0, 0.4, -0.2, 0.0], [0.4, 1.0, 0.0, -0.9], [0.0] * 4, [0.1] * 4])
LOSSES = [4.0, 2.0, 1.0, 1.0]


def frame(step=0, cosines=MATRIX, losses=LOSSES):
    (drawing,) = training_frames([(step, cosines)], ["red", "blue"], losses, guessing=2.0)
    return drawing, ET.fromstring(drawing.svg())


def shown(root):
    """The pixels of the matrix."""
    image = next(root.iter(f"{SVG}image"))
    assert (float(image.get("width")), float(image.get("height"))) == (SIDE, SIDE)
    data = re.sub("^data:image/png;base64,", "", image.get("href"))
    return np.asarray(Image.open(io.BytesIO(b64decode(data))).convert("RGB"))


def words(root):
    return [text.text for text in root.iter(f"{SVG}text")]


def dot_of(step):
    """Where the middle of the only round box is."""
    (box,) = (r for r in frame(step)[1].iter(f"{SVG}rect") if r.get("rx"))
    return float(box.get("x")) + 5, float(box.get("y")) + 5


def test_each_cell_is_as_bright_as_its_cosine_is_large():
    pixels = shown(frame()[1]).sum(-1)
    assert pixels.shape == (4, 4)
    assert pixels[0, 0] == pixels[1, 1] == pixels.max()
    assert pixels[0, 0] > pixels[0, 1] > pixels[3, 0] > pixels[0, 3] > pixels[0, 2]
    assert pixels[1, 3] == pixels[0, 2] == pixels.min()  # beyond the scale is its end


def test_blocks_have_their_names_beside_rows_and_below_columns():
    texts = list(frame()[1].iter(f"{SVG}text"))
    for name, middle in (("red", SIDE / 4), ("blue", 3 * SIDE / 4)):
        beside, below = (text for text in texts if text.text == name)
        assert float(beside.get("x")) < LEFT
        assert float(beside.get("y")) == pytest.approx(6 + middle, abs=5)
        assert float(below.get("x")) == pytest.approx(LEFT + middle, abs=5)
        assert float(below.get("y")) > 6 + SIDE
        assert below.get("transform").startswith("rotate(-90")


def test_the_title_tells_the_step_and_the_mean_cosines():
    assert frame(3, np.eye(4))[0].title == "after 3 steps: pairs +1.00, others +0.00"
    assert frame(0, -np.eye(4))[0].title == "after 0 steps: pairs −1.00, others +0.00"


def test_the_dot_moves_along_the_curve_of_the_loss():
    top = 6 + SIDE + NAMES
    assert dot_of(0) == (LEFT, top)
    assert dot_of(1) == pytest.approx((LEFT + SIDE / 3, top + CURVE / 2), abs=0.01)
    assert dot_of(3) == dot_of(4) == (LEFT + SIDE, top + 0.75 * CURVE)


def test_the_curve_has_a_point_a_step_and_a_line_where_guessing_is():
    _, root = frame()
    (curve,) = root.iter(f"{SVG}polyline")
    assert len(curve.get("points").split()) == len(LOSSES)
    assert {"guessing", "loss", "step 4", "picture", "cosine"} <= set(words(root))
    guessing = str(float(6 + SIDE + NAMES + CURVE / 2)).removesuffix(".0")
    assert guessing in {line.get("y1") for line in root.iter(f"{SVG}line")}


@pytest.mark.parametrize(
    ("step", "cosines", "losses"),
    [(0, np.ones((4, 2)), LOSSES), (0, np.eye(3), LOSSES), (5, MATRIX, LOSSES), (0, MATRIX, [])],
)
def test_what_makes_no_frame_is_an_error(step, cosines, losses):
    with pytest.raises(ValueError, match=r"does not fall|is none of|need at least"):
        frame(step, cosines, losses)

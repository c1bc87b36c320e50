import xml.etree.ElementTree as ET

import numpy as np
import pytest

from minivlm.viz.bits import FORMATS, bit_rows, bits_of, to_bfloat16, value_of
from minivlm.viz.style import BLUE, GREEN, ORANGE

SVG = "{http://www.w3.org/2000/svg}"


def test_bfloat16_is_rounded_as_ml_dtypes_rounds():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2**32, 100_000, dtype=np.uint32)
    ties = (patterns & 0xFFFF0000) | 0x8000  # exactly halfway
    x = np.concatenate([patterns, ties]).view(np.float32)
    x = np.append(x[np.isfinite(x)], np.array([0, -0.0, np.inf, -np.inf], np.float32))
    with np.errstate(over="ignore"):  # the largest float32s round to infinity
        theirs = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(to_bfloat16(x).view(np.uint32), theirs.view(np.uint32))


def test_bfloat16_of_another_type_is_refused():
    with pytest.raises(TypeError, match="float64"):
        to_bfloat16(np.ones(3))


def test_the_bits_of_numbers_known_by_heart():
    assert bits_of(1.0, "float32") == ("0", "01111111", "0" * 23)
    assert bits_of(-2.5, "float32") == ("1", "10000000", "01" + "0" * 21)
    assert bits_of(257.0, "bfloat16") == ("0", "10000111", "0" * 7)
    assert bits_of(1.5, "float16") == ("0", "01111", "1" + "0" * 9)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("number", [0.1, -3.14159, 257.0, 1e-3])
def test_the_bits_make_up_the_value(kind, number):
    sign, exponent, fraction = bits_of(number, kind)
    bias = 2 ** (FORMATS[kind][0] - 1) - 1
    assert (len(exponent), len(fraction)) == FORMATS[kind]
    value = (
        (-1) ** int(sign)
        * int("1" + fraction, 2)
        * 2.0 ** (int(exponent, 2) - bias - len(fraction))
    )
    assert value == value_of(number, kind)
    assert value == pytest.approx(number, rel=2.0 ** -len(fraction))


def test_the_picture_has_a_cell_for_each_bit_dark_where_it_is_one():
    drawing = bit_rows([(np.pi, "float32"), (-257.0, "bfloat16")])
    root = ET.fromstring(drawing.svg())
    cells = [box for box in root.iter(f"{SVG}rect") if box.get("fill-opacity")]
    bits = [bit for row in ((np.pi, "float32"), (-257.0, "bfloat16")) for bit in bits_of(*row)]
    assert [float(cell.get("fill-opacity")) > 0.5 for cell in cells] == [
        bit == "1" for part in bits for bit in part
    ]
    colors = [GREEN] + [ORANGE] * 8 + [BLUE] * 23 + [GREEN] + [ORANGE] * 8 + [BLUE] * 7
    assert [cell.get("fill") for cell in cells] == colors
    said = [text.text for text in root.iter(f"{SVG}text")]
    assert "3.14159274" in said
    assert "-256" in said
    assert all(float(c.get("x")) + float(c.get("width")) < drawing.width for c in cells)


@pytest.mark.parametrize("rows", [[], [(1.0, "float8")]])
def test_no_rows_or_unknown_formats_are_an_error(rows):
    with pytest.raises(ValueError, match="float32, float16, bfloat16"):
        bit_rows(rows)

import importlib.util
import xml.etree.ElementTree as ET

import pytest

from minivlm.viz.slides import CAPTION, GAP, slideshow
from minivlm.viz.svg import Drawing

SVG = "{http://www.w3.org/2000/svg}"
WIDGET = "application/vnd.jupyter.widget-view+json"


def drawings(count, width=600.0):
    made = []
    for i in range(count):
        drawing = Drawing(width, 100, f"step {i}")
        drawing.text(50, 50, f"picture {i}")
        made.append(drawing)
    return made


def without_ipywidgets(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def texts(element):
    return [text.text for text in element.iter(f"{SVG}text")]


def places(show):
    """Where each picture lies on the strip, and what it shows."""
    insides = ET.fromstring(show.strip().svg()).findall(f"{SVG}svg")
    return [(float(i.get("x")), float(i.get("y")), texts(i)[0]) for i in insides]


def test_wide_pictures_lie_one_below_the_other_each_under_its_caption():
    show = slideshow(drawings(3))
    below = CAPTION + 100 + GAP
    assert places(show) == [(0, CAPTION + below * i, f"picture {i}") for i in range(3)]
    captions = [words for words in texts(ET.fromstring(show.strip().svg())) if " of " in words]
    assert captions == ["1 of 3.  step 0", "2 of 3.  step 1", "3 of 3.  step 2"]
    assert show.strip().height == 3 * below - GAP


def test_narrow_pictures_lie_side_by_side_in_reading_order():
    show = slideshow(drawings(3, width=400))
    assert [(x, y) for x, y, _ in places(show)] == [
        (0, CAPTION),
        (400 + GAP, CAPTION),
        (0, 2 * CAPTION + 100 + GAP),
    ]


def test_of_many_pictures_the_strip_has_some_with_the_first_and_the_last():
    show = slideshow(drawings(11), most=3)
    assert [words for *_, words in places(show)] == ["picture 0", "picture 5", "picture 10"]


def test_without_ipywidgets_jupyter_gets_the_strip(monkeypatch):
    without_ipywidgets(monkeypatch)
    show = slideshow(drawings(2))
    assert show.widget() is None
    assert show._repr_mimebundle_() == {
        "image/svg+xml": show.strip().svg(),
        "text/plain": "2 pictures",
    }


def test_with_ipywidgets_jupyter_gets_a_slider_over_all_pictures_and_the_strip():
    ipywidgets = pytest.importorskip("ipywidgets")
    show = slideshow(drawings(4), most=2)
    bundle = show._repr_mimebundle_()
    assert WIDGET in bundle
    assert bundle["image/svg+xml"] == show.strip().svg()
    controls, stack = show.widget().children
    play, slider = controls.children
    assert isinstance(play, ipywidgets.Play)
    assert (slider.min, slider.max) == (play.min, play.max) == (0, 3)
    assert stack.selected_index == 0
    assert [label.value for label, _ in (page.children for page in stack.children)] == (
        show.captions()
    )
    assert "picture 3" in stack.children[3].children[1].value


def test_ipywidgets_before_8_gets_the_strip(monkeypatch):
    ipywidgets = pytest.importorskip("ipywidgets")
    monkeypatch.delattr(ipywidgets, "Stack")
    show = slideshow(drawings(2))
    assert show.widget() is None
    assert WIDGET not in show._repr_mimebundle_()


def test_a_show_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one picture"):
        slideshow([])

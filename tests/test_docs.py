"""What docs/ shows is what the code says."""

import re
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import pytest
from PIL import ImageFont

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@pytest.fixture(scope="module")
def tour():
    return runpy.run_path(str(DOCS / "tour.py"))


def test_the_tours_picture_is_what_its_script_draws(tour):
    assert (DOCS / "tour.svg").read_text(encoding="utf-8") == tour["draw"]().svg()


def test_the_tour_goes_by_every_file_that_the_readmes_tour_names(tour):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## The reading tour") : readme.index("## The kernels")]
    named = set(re.findall(r"\]\(minivlm/([\w/]+)\.py\)", section))
    assert named <= {*tour["CLIP"], *tour["LLAVA"]}


def test_every_word_of_the_tour_is_inside_the_picture(tour):
    drawing = tour["draw"]()
    for text in ET.fromstring(drawing.svg()).iter("{http://www.w3.org/2000/svg}text"):
        font = ImageFont.truetype(str(FONT), float(text.get("font-size")))
        if text.get("text-anchor") == "start":
            assert float(text.get("x")) + font.getlength(text.text) <= drawing.width, text.text


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_the_course_page_is_what_its_commands_say():
    course = runpy.run_path(str(DOCS / "course.py"))
    page = (DOCS / "course.md").read_text(encoding="utf-8")
    assert without_digits(course["written"](page)) == without_digits(page)
    assert page.count("$ minivlm-course") >= 9
    for said in ("FAIL", "sigmoid", "hint 2 of 3", "PASS", "M1 is reached"):
        assert said in page


def without_digits(page):
    """Floats differ in their last digits between machines."""
    return re.sub(r"-?\d+\.\d+(e[+-]\d+)?|\d+e-\d+", "#", page)

"""A report is one file that anyone may be sent: whole, valid, and deaf to what texts demand."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from minivlm.viz.report import (
    before_and_after,
    cards,
    figure,
    page,
    scene,
    section,
    table,
    text,
    write_page,
)
from tests.viz.pages import Page

HOSTILE = "<script>alert('x')</script> \"quoted' & <img src=x onerror=y> </td></section>"
PICTURE = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "figure.png"
    Image.fromarray(PICTURE).save(path)
    return path


def everything(png, words):
    """A page with all there is, and the same words wherever words may be."""
    return page(
        words,
        [
            section(words, text(words), figure(png, words), scene(PICTURE, words)),
            table([words, "score"], [[words, 0.5], [words, None]]),
            before_and_after([words, words, words], [(PICTURE, (words, words))]),
            cards([(PICTURE, words, words, words), (PICTURE, words, "other", words)]),
        ],
    )


def test_a_page_needs_nothing_from_elsewhere(png):
    source = everything(png, "words")
    found = Page(source)
    assert len(found.links()) == 5  # a figure, and scenes
    assert all(link.startswith("data:image/png;base64,") for link in found.links())
    assert "url(" not in source
    assert "@import" not in source
    assert not found.named("script")
    assert not found.named("link")


def test_a_page_is_a_whole_document(png):
    source = everything(png, "words")
    found = Page(source)
    assert source.startswith("<!doctype html>\n")
    for tag in ("html", "head", "title", "body", "h1"):
        assert len(found.named(tag)) == 1
    assert found.named("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in found.named("meta")
    assert all(image["alt"] for image in found.named("img"))


def test_whatever_a_text_says_is_only_text(png):
    plain, hostile = Page(everything(png, "words")), Page(everything(png, HOSTILE))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert [a.keys() for _, a in hostile.tags] == [a.keys() for _, a in plain.tags]
    assert hostile.links() == plain.links()
    for (tag, said), (_, words) in zip(hostile.texts, plain.texts, strict=True):
        if tag != "style":
            assert said == words.replace("words", HOSTILE)
    assert {image["alt"] for image in hostile.named("img")} == {HOSTILE}


def test_the_checker_sees_what_is_not_escaped(png):
    with pytest.raises(AssertionError):
        Page(page("title", [f"<p>{HOSTILE}</p>"]))
    loud = Page(page("title", ["<p><script>alert('x')</script></p>"]))
    assert loud.named("script") == [{}]


def test_a_figure_is_the_file_itself(png):
    (image,) = Page(figure(png, "what it shows")).named("img")
    assert base64.b64decode(image["src"].split(",")[1]) == png.read_bytes()
    assert image["alt"] == "what it shows"
    assert Page(figure(png, "what it shows")).within("figcaption") == ["what it shows"]


def test_a_scene_keeps_each_of_its_pixels():
    (image,) = Page(scene(PICTURE, "noise")).named("img")
    with Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))) as found:
        np.testing.assert_array_equal(np.asarray(found), PICTURE)


def test_words_between_backticks_are_code():
    found = Page(text("run `minivlm ask --model <run>` and `docs/`"))
    assert found.within("code") == ["minivlm ask --model <run>", "docs/"]
    assert found.within("p") == ["run ", " and "]


def test_numbers_have_three_digits_and_stand_to_the_right():
    found = Page(table(["name", "a", "b"], [["x", 0.12345, None], ["y", 1.0, 2 / 3]]))
    assert found.rows == [["name", "a", "b"], ["x", "0.123", ""], ["y", "1.000", "0.667"]]
    classes = [a.get("class") for tag, a in found.tags if tag in ("td", "th")]
    assert classes == [None, "number", "number"] * 3


@pytest.mark.parametrize("row", [["x"], ["x", 0.5, 0.5]])
def test_a_row_of_another_length_than_the_header_is_an_error(row):
    with pytest.raises((ValueError, IndexError)):
        table(["name", "a"], [row])


def test_before_and_after_has_a_picture_and_its_texts_in_each_row():
    source = before_and_after(
        ("picture", "there", "before", "after"),
        [(PICTURE, ("a red star", "a blue", "a red star")), (PICTURE + 1, ("b", "c", "d"))],
    )
    found = Page(source)
    assert found.rows == [
        ["picture", "there", "before", "after"],
        ["", "a red star", "a blue", "a red star"],
        ["", "b", "c", "d"],
    ]
    assert [image["alt"] for image in found.named("img")] == ["a red star", "b"]
    assert len(set(found.links())) == 2


def test_cards_say_what_is_right_and_what_would_have_been():
    found = Page(
        cards([(PICTURE, "color?", "red", "red"), (PICTURE, "shape?", "a star", "a circle")])
    )
    verdicts = [attributes["class"] for attributes in found.named("span")]
    assert verdicts == ["right", "wrong"]
    assert found.within("span") == ["✓ red", "✗ a star"]
    assert found.within("div") == ["color?", "\n", "shape?", "it is: a circle"]
    assert [image["alt"] for image in found.named("img")] == ["color?", "shape?"]


def test_a_page_is_written_whatever_characters_are_in_it(tmp_path):
    write_page(tmp_path / "report.html", "Löwe 猫", [text("half a pair: \ud83d")])
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert written == page("Löwe 猫", [text("half a pair: \\ud83d")])
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]

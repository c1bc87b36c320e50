import re
import shutil

import numpy as np
import pytest

from minivlm.data.captions import Pair, load_captions, read_pairs
from minivlm.data.image import resize_and_crop
from minivlm.errors import InputError
from tests.data.files import encoded, noise, put, sentences, tar


def picture(folder, name="a.png", seed=0):
    return put(folder / name, encoded(noise(seed=seed)))


def told(path, *arguments, **options):
    """Caption and place of each pair, and the errors, with the folder left out of all of them."""
    folder = f"{path if path.is_dir() else path.parent}/"
    errors, pairs = sentences(read_pairs(path, *arguments, **options))
    here = [(pair.caption, pair.where.replace(folder, "")) for pair in pairs]
    return here, [error.replace(folder, "") for error in errors]


def test_each_line_of_a_text_is_a_caption_of_the_picture_beside_it(tmp_path):
    first = picture(tmp_path, "cats/a.png")
    picture(tmp_path, "b.JPG")
    put(tmp_path / "cats" / "a.txt", "\ufeffa cat\r\n\r\n  one more cat  ")
    put(tmp_path / "b.txt", "ein Hündchen\n")
    put(tmp_path / ".hidden" / "c.png", "")
    put(tmp_path / "notes.md", "")
    pairs = list(read_pairs(tmp_path))
    assert told(tmp_path) == (
        [
            ("ein Hündchen", "b.txt, line 1"),
            ("a cat", "cats/a.txt, line 1"),
            ("one more cat", "cats/a.txt, line 3"),
        ],
        [],
    )
    assert [pair.image for pair in pairs if isinstance(pair, Pair)][1:] == [first, first]


def test_what_lacks_its_other_half_in_a_folder_is_an_error_each(tmp_path):
    picture(tmp_path, "a.png")
    put(tmp_path / "b.txt", "nobody")
    picture(tmp_path, "c.png")
    put(tmp_path / "c.txt", " \n")
    picture(tmp_path, "d.png")
    put(tmp_path / "d.txt", b"fine\nT\xfcr")
    picture(tmp_path, "e.png")
    picture(tmp_path, "e.jpg")
    put(tmp_path / "e.txt", "which?")
    picture(tmp_path, "f.png")
    put(tmp_path / "f.txt", "good")
    pairs, errors = told(tmp_path)
    assert pairs == [("good", "f.txt, line 1")]
    assert errors == [
        "a.png: a picture without a .txt beside it",
        "b.txt: a text without a picture beside it",
        "c.txt: the caption is empty",
        "d.txt, line 2: not UTF-8 text",
        f"{tmp_path}: which text is for which picture: e.jpg, e.png, e.txt?",
    ]


@pytest.mark.parametrize(
    "table",
    [
        "filepath,title\na.png,a cat\nb.png,two dogs\n",
        "\ufefffilepath,title\r\na.png,a cat\r\nb.png,two dogs\r\n",
        "title\tfilepath\na cat\ta.png\ntwo dogs\tb.png",
        'text,n, image \n"a cat",1,"a.png"\n\n two dogs ,2,./b.png\n',
        "file_name,caption\na.png,a cat\nb.png,two dogs\n",
        "filepath,image,title,text\na.png,no.png,a cat,no\nb.png,no.png,two dogs,no\n",
    ],
)
def test_tables_of_many_makes_are_read(table, tmp_path):
    files = [picture(tmp_path, name) for name in ("a.png", "b.png")]
    path = put(tmp_path / "captions.csv", table)
    for source in (path, tmp_path):  # the folder of one table is that table
        pairs = list(read_pairs(source))
        assert [(p.image, p.caption) for p in pairs if isinstance(p, Pair)] == [
            (files[0], "a cat"),
            (files[1], "two dogs"),
        ]


def test_columns_and_the_folder_of_images_can_be_named(tmp_path):
    file = picture(tmp_path, "images/deep/a.png")
    table = put(tmp_path / "t.tsv", "filepath\ttitle\twords\tsrc\nno.png\tno\tyes\tdeep/a.png\n")
    pairs = list(read_pairs(table, "src", "words", tmp_path / "images"))
    assert pairs == [Pair(file, "yes", f"{table}, line 2")]


def test_a_row_is_called_by_the_line_on_which_it_starts(tmp_path):
    picture(tmp_path)
    rows = 'filepath,title\na.png,"one\n\ntwo"\n\na.png,three\na.png,"say ""four"""\n'
    rows += "a.png,\u2028five\n"
    assert told(put(tmp_path / "t.csv", rows)) == (
        [
            ("one\n\ntwo", "t.csv, line 2"),
            ("three", "t.csv, line 6"),
            ('say "four"', "t.csv, line 7"),
            ("five", "t.csv, line 8"),
        ],
        [],
    )


def test_all_ways_to_write_a_path_are_one_picture(tmp_path):
    picture(tmp_path, "deep/a.png")
    (tmp_path / "same.png").symlink_to(tmp_path / "deep" / "a.png")
    names = ["deep/a.png", "./deep//a.png", "deep/../deep/a.png", "same.png"]
    table = put(tmp_path / "t.csv", "filepath,title\n" + "".join(f"{n},x\n" for n in names))
    assert {p.image for p in read_pairs(table) if isinstance(p, Pair)} == {
        tmp_path / "deep" / "a.png"
    }


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a.png", "1 fields, but the header has 2"),
        ("a.png,one, two", "3 fields, but the header has 2"),
        ("a.png, ", "the caption is empty"),
        (",words", "no picture is named"),
        ("b.png,words", 'no file "b.png" in the folder {0}/data'),
        (".,words", 'no file "." in the folder {0}/data'),
        ("../secret.png,words", '"../secret.png" leads out of the folder {0}/data'),
        ("x/../../secret.png,words", '"x/../../secret.png" leads out of'),
        ("{0}/secret.png,words", '"{0}/secret.png" leads out of the folder {0}/data'),
        ("link.png,words", '"link.png" leads out of the folder {0}/data'),
        ("/dev/zero,words", '"/dev/zero" leads out of'),
        ("file:///etc/passwd,words", 'no file "file:///etc/passwd" in'),
        (r"..\secret.png,words", r'"..\secret.png" has a backslash; write folders with /'),
        ("circle.png,words", '"circle.png"'),
        ("n" * 5000 + ".png,words", '"nnn'),
        ("a\0.png,words", '"a\0.png" cannot be a file'),
        ('a.png,"wo"rds', "',' expected after '\"'"),
        ('a.png,"words', "unexpected end of data"),
        ("a.png," + "w" * 200_000, "field larger than field limit"),
    ],
)
def test_a_bad_row_is_an_error_with_its_line(row, problem, tmp_path):
    folder = tmp_path / "data"
    picture(tmp_path, "secret.png")
    picture(folder)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    row, problem = (text.replace("{0}", str(tmp_path)) for text in (row, problem))
    table = put(folder / "t.csv", f'filepath,title\na.png,"on two\nlines"\n{row}\n')
    pairs, errors = told(table)
    assert pairs == [("on two\nlines", "t.csv, line 2")]
    assert len(errors) == 1
    assert errors[0].startswith("t.csv, line 4: " + problem.replace(f"{folder}/", ""))


def test_rows_after_a_bad_one_are_read(tmp_path):
    picture(tmp_path)
    table = put(tmp_path / "t.csv", 'filepath,title\na.png,"x"y\nb.png,z\na.png,good\n,\n')
    pairs, errors = told(table)
    assert pairs == [("good", "t.csv, line 4")]
    assert [error[:13] for error in errors] == ["t.csv, line 2", "t.csv, line 3", "t.csv, line 5"]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("url,title", "no column named filepath or image .* among: url, title; .* --image-column"),
        ("filepath;title", "no column .* among: filepath;title"),
        ("filepath,words", "no column named title or caption or text among: filepath, words"),
        ("image,path,title", "more than one column named filepath or image"),
        ("filepath,text,caption", "more than one column .* --caption-column"),
        ("filepath,title,title", "more than one column named title among"),
        ('"filepath', "unexpected end of data"),
    ],
)
def test_a_header_that_does_not_say_which_columns_is_an_error_with_those_it_has(
    header, problem, tmp_path
):
    picture(tmp_path)
    pairs, errors = told(put(tmp_path / "t.csv", f"{header}\na.png,x,y\n"))
    assert (pairs, len(errors)) == ([], 1)
    assert re.match(f"t.csv, line 1: {problem}", errors[0])


def test_a_column_that_was_asked_for_is_the_only_one_that_will_do(tmp_path):
    picture(tmp_path)
    table = put(tmp_path / "t.csv", "filepath,title\na.png,x\n")
    assert re.search("no column named words among", told(table, None, "words")[1][0])


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "no pictures with captions"),
        ({"notes.md": ""}, "no pictures with captions"),
        ({"t.csv": "filepath,title\n"}, "no pictures with captions"),
        ({"t.csv": ""}, "t.csv: no column named"),
        ({"t.csv": b"filepath,title\na,b\nT\xfcr,c"}, "t.csv, line 3: not UTF-8 text"),
        ({"a.csv": "", "b.tsv": ""}, "which of a.csv, b.tsv is meant"),
        ({"a.csv": "", "b.tar": ""}, "which of a.csv, b.tar is meant"),
        ({"b.tar": ""}, "b.tar: not a whole, uncompressed tar archive"),
    ],
)
def test_a_folder_with_nothing_to_learn_from_is_an_error(files, problem, tmp_path):
    for name, content in files.items():
        put(tmp_path / name, content)
    pairs, errors = told(tmp_path)
    assert (pairs, len(errors)) == ([], 1)
    assert problem in errors[0]
    with pytest.raises(InputError, match=re.escape(problem)):
        load_captions(tmp_path, 8)


def test_a_path_that_is_none_of_the_sources_is_an_error(tmp_path):
    for path, problem in [
        (tmp_path / "no", "no such file or folder"),
        (put(tmp_path / "a.xlsx", ""), "neither a folder nor a .csv, .tsv or .tar file"),
        (tmp_path / ("n" * 300), "File name too long"),
    ]:
        assert [str(error) for error in read_pairs(path)] == [f"{path}: {problem}"]


def test_options_of_tables_are_errors_elsewhere(tmp_path):
    for options in ({"images": tmp_path}, {"image_column": "x"}, {"caption_column": "x"}):
        assert "go with a .csv or .tsv table" in told(tmp_path, **options)[1][0]
    table = put(tmp_path / "t.csv", "filepath,title\n")
    assert "no such folder" in told(table, images=tmp_path / "no")[1][0]


def test_archives_give_captions_from_txt_and_json(tmp_path):
    raw = encoded(noise())
    path = tar(
        tmp_path / "0.tar",
        [
            *[("1.png", raw), ("1.txt", b"one\nuno\n")],
            *[("2.png", raw), ("2.json", b'{"caption": " two ", "url": null}')],
            *[("3.png", raw), ("3.txt", b" ")],
            *[("4.png", raw), ("4.txt", b"\xff")],
            *[(f"{n}.{ending}", b"") for n in (5,) for ending in ("png", "json")],
            *[("6.png", raw), ("6.json", b"[1]")],
            *[("7.png", raw), ("7.json", b'{"caption": 7}')],
            *[("8.png", raw), ("8.json", b'{"caption": "\\ud800"}')],
            *[("9.png", raw), ("9.json", b"[" * 100_000)],
        ],
    )
    pairs, errors = told(path)
    assert pairs == [
        ("one", "0.tar: 1.txt, line 1"),
        ("uno", "0.tar: 1.txt, line 2"),
        ("two", "0.tar: 2.json"),
    ]
    assert errors == [
        "0.tar: 3.txt: the caption is empty",
        "0.tar: 4.txt, line 1: not UTF-8 text",
        *[f'0.tar: {n}.json: not a JSON object with a text named "caption"' for n in range(5, 10)],
    ]


def test_shards_of_a_folder_are_read_in_the_order_of_their_names(tmp_path):
    for name in ("1.tar", "0.tar"):
        tar(tmp_path / name, [("k.png", encoded(noise())), ("k.txt", name.encode())])
    assert [caption for caption, _ in told(tmp_path)[0]] == ["0.tar", "1.tar"]
    images, captions, _ = load_captions(tmp_path, 8)
    assert (len(images), captions) == (2, [["0.tar"], ["1.tar"]])


def test_pictures_are_loaded_once_each_in_order_with_all_their_captions(tmp_path):
    for seed, name in enumerate("abc"):
        picture(tmp_path, f"{name}.png", seed)
    table = put(tmp_path / "t.csv", "filepath,title\nc.png,3\na.png,1\nc.png,drei\n")
    images, captions, left_out = load_captions(table, 10)
    assert captions == [["3", "drei"], ["1"]]
    assert left_out == []
    assert images.dtype == np.uint8
    assert np.array_equal(images, [resize_and_crop(noise(seed=seed), 10) for seed in (2, 0)])


def test_loading_stops_at_what_is_bad_or_leaves_it_out_and_says_so(tmp_path):
    picture(tmp_path, "a.png")
    put(tmp_path / "b.png", "no picture")
    table = put(tmp_path / "t.csv", "filepath,title\nb.png,1\nb.png,2\na.png,\na.png,3\n")
    with pytest.raises(InputError, match=r"line 4: the caption is empty \(minivlm check-data"):
        load_captions(table, 8)
    images, captions, left_out = load_captions(table, 8, skip_bad=True)
    assert np.array_equal(images, resize_and_crop(noise(), 8)[None])
    assert captions == [["3"]]
    why = "not a JPEG, PNG, WebP, GIF or BMP picture"
    assert left_out == [
        f"left out: {table}, line 4: the caption is empty",
        f"left out: {table}, line 2: b.png: {why}",
    ]
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match="nothing here can be used"):
        load_captions(table, 8, skip_bad=True)


def test_what_vanishes_after_it_was_listed_is_an_error(tmp_path):
    (tmp_path / "x").mkdir()
    path = tar(tmp_path / "x" / "0.tar", [("1.png", encoded(noise())), ("1.txt", b"x")])
    (pair,) = read_pairs(path)
    assert isinstance(pair, Pair)
    assert np.array_equal(pair.open(), noise())
    shutil.rmtree(tmp_path / "x")
    with pytest.raises(InputError, match=r"0\.tar: 1\.txt, line 1: 1\.png: No such file"):
        pair.open()

from minivlm.data.check import check
from tests.data.files import encoded, noise, put, tar

NO_PICTURE = "not a JPEG, PNG, WebP, GIF or BMP picture"


def test_every_bad_row_and_every_bad_picture_is_told_in_order_and_only_once(tmp_path):
    put(tmp_path / "a.png", encoded(noise()))
    put(tmp_path / "b.png", encoded(noise())[:-30])
    put(tmp_path / "c.jpg", "a letter")
    rows = [
        "a.png,good",
        "b.png,cut",
        "no.png,x",
        "a.png,",
        "c.jpg,text",
        "b.png,x",
        "../d,x",
        ",x",
    ]
    table = put(tmp_path / "t.csv", "filepath,title\n" + "\n".join([*rows, "a.png,also good"]))
    found = check(table)
    assert [problem.removeprefix(f"{table}, ") for problem in found.problems] == [
        "line 3: b.png: not a readable picture (image file is truncated)",
        f'line 4: no file "no.png" in the folder {tmp_path}',
        "line 5: the caption is empty",
        f"line 6: c.jpg: {NO_PICTURE}",
        f'line 8: "../d" leads out of the folder {tmp_path}',
        "line 9: no picture is named",
    ]
    assert found.summary() == "2 captions of 1 pictures, 6 problems"


def test_nothing_is_told_of_good_data(tmp_path):
    for name in "ab":
        put(tmp_path / f"{name}.png", encoded(noise()))
        put(tmp_path / f"{name}.txt", "one\ntwo")
    found = check(tmp_path)
    assert (found.captions, found.images, found.problems) == (4, 2, [])


def test_checking_goes_on_after_a_damaged_shard(tmp_path):
    good = tar(tmp_path / "1.tar", [("k.png", encoded(noise())), ("k.txt", b"x")])
    put(tmp_path / "0.tar", good.read_bytes()[:700])
    tar(tmp_path / "2.tar", [("k.png", b"text"), ("k.txt", b"x")])
    found = check(tmp_path)
    assert found.captions == found.images == 1
    assert len(found.problems) == 2
    assert found.problems[0].startswith(f"{tmp_path / '0.tar'}: not a whole")
    assert found.problems[1] == f"{tmp_path / '2.tar'}: k.txt, line 1: k.png: {NO_PICTURE}"


def test_columns_and_images_can_be_named(tmp_path):
    put(tmp_path / "deep" / "a.png", encoded(noise()))
    table = put(tmp_path / "t.csv", "a,b\na.png,words\n")
    assert check(table, "a", "b", tmp_path / "deep").problems == []
    assert len(check(table).problems) == 1


def test_what_does_not_exist_is_one_problem(tmp_path):
    found = check(tmp_path / "no")
    assert found.problems == [f"{tmp_path / 'no'}: no such file or folder"]
    assert (found.captions, found.images) == (0, 0)

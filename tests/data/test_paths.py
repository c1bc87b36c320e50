import os

import pytest

from minivlm.data.paths import file_inside
from minivlm.errors import InputError
from tests.data.files import put


@pytest.fixture
def root(tmp_path):
    """A folder with two files in it, beside one that is none of its business."""
    put(tmp_path / "secret.png", "out")
    put(tmp_path / "root" / "cat.png", "in")
    put(tmp_path / "root" / "deep" / "ä b.png", "in, too")
    return tmp_path / "root"


def linked(link, target):
    try:
        os.symlink(target, link)
    except (OSError, NotImplementedError):
        pytest.skip("no symbolic links here")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cat.png", "cat.png"),
        ("deep/ä b.png", "deep/ä b.png"),
        ("./deep//ä b.png", "deep/ä b.png"),
        ("deep/../cat.png", "cat.png"),
        ("../root/cat.png", "cat.png"),
    ],
)
def test_a_file_is_found_and_named_in_one_way_however_it_was_written(root, name, file):
    assert file_inside(root, name, "data.json, line 3") == root / file


def test_a_link_within_the_folder_is_the_file_that_it_leads_to(root):
    linked(root / "link.png", root / "cat.png")
    assert file_inside(root, "link.png", "data.json") == root / "cat.png"


def test_the_folder_itself_may_be_a_link(root, tmp_path):
    linked(tmp_path / "alias", root)
    assert file_inside(tmp_path / "alias", "cat.png", "data.json").read_bytes() == b"in"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "no picture is named"),
        ("deep\\ä b.png", "has a backslash; write folders with /"),
        ("..\\secret.png", "has a backslash"),
        ("../secret.png", '"../secret.png" leads out of the folder'),
        ("deep/../../secret.png", "leads out of the folder"),
        ("..", "leads out of the folder"),
        ("cat\0.png", "cannot be a file"),
        ("a" * 5000, "cannot be a file"),
        ("dog.png", 'no file "dog.png" in the folder'),
        ("deep", 'no file "deep" in the folder'),
        (".", 'no file "." in the folder'),
        ("cat.png/x", "no file|cannot be a file"),
        ("file:///cat.png", "no file|cannot be a file"),
    ],
)
def test_a_name_that_is_no_file_in_the_folder_is_refused(root, name, sentence):
    with pytest.raises(InputError, match=f"^data.json, line 3: .*({sentence})"):
        file_inside(root, name, "data.json, line 3")


def test_an_absolute_name_elsewhere_is_refused_whether_or_not_it_exists(root, tmp_path):
    for name in (tmp_path / "secret.png", tmp_path / "none.png"):
        with pytest.raises(InputError, match="leads out of the folder"):
            file_inside(root, name.as_posix(), "data.json")


def test_a_link_that_leads_out_is_refused(root, tmp_path):
    linked(root / "link.png", tmp_path / "secret.png")
    linked(root / "up", tmp_path)
    for name in ("link.png", "up/secret.png"):
        with pytest.raises(InputError, match=f'"{name}" leads out of the folder'):
            file_inside(root, name, "data.json")


def test_links_in_a_circle_are_no_file(root):
    linked(root / "a.png", root / "b.png")
    linked(root / "b.png", root / "a.png")
    with pytest.raises(InputError, match=r"no file|cannot be a file"):
        file_inside(root, "a.png", "data.json")

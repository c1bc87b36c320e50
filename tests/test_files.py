import os

import pytest

from minivlm.errors import InputError
from minivlm.files import read_json, write_bytes, write_json


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"ä": [1, 2]})
    write_json(path, {"ä": [3]})
    assert read_json(path) == {"ä": [3]}
    assert os.listdir(tmp_path) == ["value.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "value"
    write_bytes(path, b"old")

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["value"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b'{"a": 1,\n}', "line 2: not JSON"), (b"\xff", "not UTF-8"), (b"[" * 100_000, "nested")],
)
def test_what_is_no_json_is_an_error_that_names_the_file(tmp_path, content, sentence):
    path = tmp_path / "value.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence) as error:
        read_json(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match=r"value\.json: No such file"):
        read_json(tmp_path / "value.json")


def test_half_a_surrogate_pair_is_written_as_json_writes_it(tmp_path):
    write_json(tmp_path / "value.json", {"text": "Löwe \ud83d"})
    assert "Löwe \\ud83d" in (tmp_path / "value.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "value.json") == {"text": "Löwe \ud83d"}

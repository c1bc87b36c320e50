import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from minivlm.errors import InputError
from minivlm.tensorfile import DTYPES, read_arrays, write_arrays

ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.ones(3, np.float16),
    "steps": np.array(7),
    "flags": np.array([True, False]),
    "none": np.zeros((0, 4), np.float32),
}


@pytest.fixture
def path(tmp_path):
    write_arrays(tmp_path / "x.safetensors", ARRAYS, {"step": "7"})
    return tmp_path / "x.safetensors"


def raw_file(header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def entry(shape=(2,), offsets=(0, 8), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_arrays_and_metadata_come_back(path):
    arrays, metadata = read_arrays(path)
    assert metadata == {"step": "7"}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("name", sorted(DTYPES.keys() - {"BF16"}))
def test_what_can_be_read_can_be_written(tmp_path, name):
    array = np.arange(6).astype(DTYPES[name]).reshape(2, 3)
    write_arrays(tmp_path / "x", {"x": array}, {})
    read = read_arrays(tmp_path / "x")[0]["x"]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_other_programs_can_read_it(path):
    np.testing.assert_array_equal(load_file(path)["a.weight"], ARRAYS["a.weight"])


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[:, ::2],
        lambda a: a[::-1],
        lambda a: np.broadcast_to(a[0], (4, 3)),
    ],
)
def test_views_are_written_as_they_look(tmp_path, view):
    array = view(np.arange(6, dtype=np.float32).reshape(2, 3))
    write_arrays(tmp_path / "x", {"x": array}, {})
    np.testing.assert_array_equal(read_arrays(tmp_path / "x")[0]["x"], array)


def test_bfloat16_comes_as_the_same_number_in_float32(tmp_path):
    numbers = np.array([1.0, -2.5, 3.140625, 1e30], np.float32)
    bits = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    (tmp_path / "x").write_bytes(raw_file({"x": entry((4,), (0, 8), "BF16")}, bits.tobytes()))
    read = read_arrays(tmp_path / "x")[0]["x"]
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, numbers, rtol=2**-7)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "cut short, 0 bytes"),
        (b"\xff" * 100, "header exceeds the file"),
        (raw_file(b"{"), "header is not JSON"),
        (raw_file(b"[" * 10_000), "header is not JSON"),
        (raw_file([1]), "header is not an object"),
        (raw_file({"x": 3}), 'the entry of "x" is damaged'),
        (raw_file({"x": entry(offsets=(0, 8, 9))}), 'the entry of "x" is damaged'),
        (raw_file({"x": entry(shape=(-2,))}), 'the entry of "x" is damaged'),
        (raw_file({"x": entry(shape=(True,), offsets=(0, 4))}), 'the entry of "x" is damaged'),
        (raw_file({"x": entry((0, 2**63), (0, 0))}), 'the entry of "x" is damaged'),
        (raw_file({"x": entry((0, 2**62, 2**62), (0, 0))}), 'the entry of "x" is damaged'),
        (raw_file({"x": entry(dtype="F4")}), "\"x\" has an unknown dtype 'F4'"),
        (raw_file({"x": entry()}, b"1234"), '"x" ends 4 bytes after the file'),
        (raw_file({"x": entry(shape=(3,))}, b"12345678"), r'"x" of shape \(3,\) has 8 bytes'),
        (
            raw_file({"x": entry(), "y": entry(offsets=(4, 12))}, b"x" * 12),
            'bytes of "y" overlap',
        ),
        (raw_file({"__metadata__": {"step": 3}}), '"__metadata__" is not an object of strings'),
    ],
)
def test_a_damaged_file_is_refused_with_its_name_and_key(tmp_path, content, sentence):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence) as error:
        read_arrays(path)
    assert str(error.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.safetensors: No such file"):
        read_arrays(tmp_path / "none.safetensors")


@given(data=st.data())
def test_a_file_with_a_changed_byte_reads_or_is_refused_and_nothing_else(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    write_arrays(folder / "x", ARRAYS, {"step": "7"})
    content = bytearray((folder / "x").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "x").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(InputError):
        read_arrays(folder / "x")

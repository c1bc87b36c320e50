"""When two results are the same, and what is said when they are not."""

import io
import zipfile

import numpy as np
import pytest

from minivlm.course import compare
from minivlm.course.compare import Failed, described, difference, load, save

RIGHT = {"y": np.array([[1.0, -2.0], [3.0, 4.0]])}


def with_change(value, dtype=np.float64):
    y = RIGHT["y"].astype(dtype)
    y[1, 0] = value
    return {"y": y}


def test_equal_results_have_no_difference():
    assert difference(RIGHT, {"y": RIGHT["y"] + 1e-12}, 1e-9) is None
    nan = {"y": np.array([np.nan, np.inf, -np.inf])}
    assert difference(nan, nan, 1e-9) is None


def test_the_first_wrong_number_is_named_with_what_was_expected():
    found = difference(with_change(3.5), RIGHT, 1e-9)
    assert found is not None
    assert found.says.startswith("y[1, 0] = 3.5, expected 3    (largest error 0.5, relative 0.12,")
    assert "bound 1e-09, float64" in found.says
    assert "expected" not in found.brief


@pytest.mark.parametrize("value", [3 + 1e-6, np.nan, np.inf])
def test_a_small_error_a_nan_and_an_infinity_are_wrong(value):
    assert difference(with_change(value), RIGHT, 1e-9) is not None


def test_float32_has_a_wider_bound_and_must_stay_float32():
    right = {"y": RIGHT["y"].astype(np.float32)}
    assert difference(with_change(3 + 1e-5, np.float32), right, 1e-9) is None
    assert difference(with_change(3 + 1e-3, np.float32), right, 1e-9) is not None
    found = difference(RIGHT, right, 1e-9)
    assert found is not None
    assert found.says.startswith("y is of type float64, expected float32: np.sqrt of a whole")


def test_a_small_number_beside_large_ones_is_held_to_the_large():
    right = {"y": np.array([1e6, 0.0])}
    assert difference({"y": np.array([1e6, 1e-5])}, right, 1e-9) is None
    assert difference({"y": np.array([1e6, 1e-2])}, right, 1e-9) is not None


def test_shapes_whole_numbers_and_missing_outputs():
    says = [
        difference({"y": RIGHT["y"].T[:1]}, RIGHT, 1e-9),
        difference({"y": np.array([1, 2])}, {"y": np.array([1, 3])}, 1e-9),
        difference({}, RIGHT, 1e-9),
    ]
    assert [found and found.says for found in says] == [
        "y has shape (1, 2), expected (2, 2)",
        "y[1] = 2, expected 3    (1 of 2 differ)",
        "y is missing",
    ]


def test_errors_are_the_same_if_their_kind_is():
    one, other = Failed("ValueError", "a"), Failed("ValueError", "b")
    assert difference(one, other, 1e-9) is None
    assert difference(one, Failed("TypeError", "a"), 1e-9) is not None
    found = difference(RIGHT, one, 1e-9)
    assert found is not None
    assert "it should raise ValueError" in found.says


def test_a_call_is_described_by_shapes():
    case = {"x": np.zeros((2, 3), np.float32), "axis": 1, "mask": None}
    assert described(case) == "x (2, 3) float32  axis 1  mask None"


def test_results_come_back_as_they_were_saved(tmp_path):
    results = [RIGHT, Failed("ValueError", "no", "line 3"), {"a": np.array(3), "b": np.zeros(0)}]
    save(tmp_path / "r.npz", results)
    back = load(tmp_path / "r.npz", 3)
    assert back[1] == results[1]
    np.testing.assert_array_equal(back[0]["y"], RIGHT["y"])
    assert set(back[2]) == {"a", "b"}
    with pytest.raises(ValueError, match="3 results of 4"):
        load(tmp_path / "r.npz", 4)


def test_a_file_that_unpacks_to_too_much_is_not_unpacked(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("index.npy", b"0" * (compare.MOST_BYTES + 1))
    path = tmp_path / "bomb.npz"
    path.write_bytes(packed.getvalue())
    with pytest.raises(ValueError, match="results of"):
        load(path, 1)

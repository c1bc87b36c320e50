import sys

import numpy as np
import pytest

from minivlm.data.digits import DIGIT_WORDS, TEMPLATES, captions, load_digits
from minivlm.errors import InputError


@pytest.fixture(scope="module")
def splits():
    pytest.importorskip("sklearn")
    return load_digits()


def test_splits_have_their_sizes_and_every_digit(splits):
    assert {name: len(part.labels) for name, part in splits.items()} == {
        "train": 1297,
        "validation": 100,
        "test": 400,
    }
    for part in splits.values():
        assert part.images.shape == (len(part.labels), 8, 8, 3)
        assert part.images.dtype == np.uint8
        assert set(part.labels) == set(range(10))


def test_splits_together_are_scikit_learns_digits_each_once(splits):
    from sklearn import datasets

    ink, labels = datasets.load_digits(return_X_y=True)
    expected = sorted(
        (*row, label) for row, label in zip(ink.astype(int).tolist(), labels, strict=True)
    )
    found = sorted(
        (*np.rint(image[..., 0] * (16 / 255)).astype(int).ravel().tolist(), label)
        for part in splits.values()
        for image, label in zip(*part, strict=True)
    )
    assert found == expected


def test_the_brightest_ink_is_white_and_the_colours_are_equal(splits):
    images = splits["train"].images
    assert (images.min(), images.max()) == (0, 255)
    assert (images == images[..., :1]).all()


def test_the_split_depends_on_the_seed_alone(splits):
    again, other = load_digits(), load_digits(seed=1)
    for name, part in splits.items():
        assert np.array_equal(part.images, again[name].images)
        assert not np.array_equal(part.labels, other[name].labels)


def test_digits_can_be_enlarged(splits):
    large = load_digits(size=16)["test"]
    assert large.images.shape == (400, 16, 16, 3)
    assert np.array_equal(large.labels, splits["test"].labels)
    small = large.images.reshape(400, 8, 2, 8, 2, 3).mean((2, 4))
    assert np.abs(small - splits["test"].images).mean() < 16


def test_captions_name_the_digit_in_many_ways():
    texts = captions([3] * 200, np.random.default_rng(0))
    assert set(texts) == {template.format("three") for template in TEMPLATES}
    assert texts == captions([3] * 200, np.random.default_rng(0))
    said = captions(np.arange(10), np.random.default_rng(0))
    assert all(word in text for word, text in zip(DIGIT_WORDS, said, strict=True))


def test_without_scikit_learn_there_is_a_sentence_on_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r'pip install "minivlm\[digits\]"'):
        load_digits()

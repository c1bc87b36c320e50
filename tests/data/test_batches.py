import itertools

import numpy as np
import pytest

from minivlm.data.batches import bucketed, same_words, shuffled


def take(batches, count):
    return list(itertools.islice(batches, count))


def test_an_epoch_visits_each_example_at_most_once_and_all_of_them_when_batches_fit():
    epoch = np.concatenate(take(shuffled(12, 4, seed=0), 3))
    assert sorted(epoch) == list(range(12))


def test_epochs_differ_in_order():
    batches = take(shuffled(50, 50, seed=0), 2)
    assert not np.array_equal(*batches)


@pytest.mark.parametrize("start", [0, 1, 2, 3, 7])
def test_shuffled_goes_on_where_it_was(start):
    whole = take(shuffled(10, 3, seed=5), 12)
    rest = take(shuffled(10, 3, seed=5, start=start), 12 - start)
    assert np.array_equal(whole[start:], rest)


def test_bucketed_goes_on_where_it_was_and_never_mixes_buckets():
    buckets = [np.arange(0, 10), np.arange(10, 30)]
    whole = take(bucketed(buckets, [1, 3], 5, seed=2), 40)
    rest = take(bucketed(buckets, [1, 3], 5, seed=2, start=7), 33)
    assert np.array_equal(whole[7:], rest)
    assert all(len(set(batch)) == 5 and len(set(batch < 10)) == 1 for batch in whole)
    assert 20 < sum(batch[0] >= 10 for batch in whole) < 40  # three in four, on average


def test_batches_that_cannot_be_drawn_are_errors():
    with pytest.raises(ValueError, match="batch of 5 cannot be drawn from 4 examples"):
        next(shuffled(4, 5, seed=0))
    with pytest.raises(ValueError, match="bucket of 3"):
        next(bucketed([np.arange(3)], [1], 5, seed=0))


def test_same_words_marks_repeated_captions():
    assert same_words(["a", "b", "c"]) is None
    marked = same_words(["a", "b", "a"])
    assert marked is not None
    assert marked.tolist() == [[True, False, True], [False, True, False], [True, False, True]]

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minivlm.evaluate.probes import choice, preference
from minivlm.evaluate.retrieval import ranks, recall
from minivlm.evaluate.score import Score
from minivlm.evaluate.zero_shot import class_embeddings, predict

WORDS = {"red": (1.0, 0.0), "blue": (0.0, 1.0), "a red": (0.6, 0.8), "a blue": (-0.6, 0.8)}


def encode(texts):
    return np.array([WORDS[text] for text in texts])


def test_a_class_is_the_mean_direction_of_its_prompts():
    classes = class_embeddings(encode, ["red", "blue"], ["{}", "a {}"])
    expected = np.array([[1.6, 0.8], [-0.6, 1.8]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(classes, expected)
    np.testing.assert_allclose(class_embeddings(encode, ["red"]), [[1, 0]])


def test_a_picture_belongs_to_the_nearest_class():
    images = np.array([[0.9, 0.1], [0.2, 0.9], [0.8, 0.7]])
    assert predict(images, encode(["red", "blue"])).tolist() == [0, 1, 0]


def test_zero_shot_needs_names_and_one_width():
    with pytest.raises(ValueError, match="needs names"):
        class_embeddings(encode, [])
    with pytest.raises(ValueError, match="differ in width"):
        predict(np.zeros((2, 3)), np.zeros((2, 4)))


def test_recall_by_hand():
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.7], [0.1, 0.2, 0.3]])
    assert ranks(similarity).tolist() == [0, 2, 0]
    assert recall(similarity, ks=(1, 2, 3)) == {1: 2 / 3, 2: 2 / 3, 3: 1.0}


def test_equal_candidates_stand_in_their_order():
    assert ranks(np.ones((3, 3))).tolist() == [0, 1, 2]


def test_the_best_of_several_right_captions_counts():
    similarity = np.array([[0.1, 0.5, 0.9, 0.4], [0.7, 0.2, 0.6, 0.5]])
    right = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], bool)
    assert ranks(similarity, right).tolist() == [1, 1]
    assert ranks(similarity.T, right.T).tolist() == [1, 0, 1, 0]


@given(data=st.data())
def test_ranks_are_places_in_a_stable_sort(data):
    Q, K = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6))
    similarity = data.draw(arrays(float, (Q, K), elements=st.sampled_from([0.0, 0.25, 0.5])))
    right = data.draw(arrays(bool, (Q, K)))
    right[np.arange(Q), data.draw(arrays(int, Q, elements=st.integers(0, K - 1)))] = True
    for row, answers, rank in zip(similarity, right, ranks(similarity, right), strict=True):
        order = sorted(range(K), key=lambda i: (-row[i], i))
        assert rank == min(order.index(i) for i in np.flatnonzero(answers))


def test_recall_says_what_does_not_fit():
    with pytest.raises(ValueError, match="do not fit"):
        ranks(np.zeros((2, 3)), np.zeros((3, 2), bool))
    with pytest.raises(ValueError, match="query 1 has no right candidate"):
        ranks(np.zeros((2, 2)), np.array([[True, False], [False, False]]))


def test_random_embeddings_are_at_chance():
    rng = np.random.default_rng(0)
    assert recall(rng.standard_normal((2000, 50)) @ np.eye(50, 2000))[1] < 0.02


def test_preference_counts_the_nearer_text_and_half_a_tie():
    images = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    score = preference("x", images, encode, ["red"] * 3, ["blue"] * 3)
    assert score == Score("x", 0.5, chance=0.5, count=3)  # right, wrong, tie


def test_choice_is_among_a_pictures_own_options():
    images = np.array([[1.0, 0.0], [0.0, 1.0]])
    options = [["red", "blue", "a red"], ["a blue", "red", "blue"]]
    assert choice("x", images, encode, options, [0, 2]) == Score("x", 1.0, 1 / 3, 2)
    assert choice("x", images, encode, options, [0, 0]).value == 0.5


def test_probes_say_what_does_not_fit():
    with pytest.raises(ValueError, match="2 pictures, 1 and 2 texts"):
        preference("x", np.eye(2), encode, ["red"], ["blue", "red"])
    with pytest.raises(ValueError, match="2 pictures, 1 options"):
        choice("x", np.eye(2), encode, [["red"]], [0, 0])


def test_a_score_knows_its_standard_error():
    score = Score.of_hits("x", [1, 1, 1, 0], 0.25)
    assert score.value == 0.75
    assert score.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 4))
    with pytest.raises(ValueError, match="x: nothing was asked"):
        Score.of_hits("x", [], 0.5)

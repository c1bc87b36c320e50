import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.models.decoder import Decoder
from minivlm.models.generate import Sampling, choose, generate, penalised, probabilities
from tests.models.test_decoder import CONFIG, some_ids

DECODER = Decoder(CONFIG, np.random.default_rng(0))


def written(*arguments, **options):
    return np.stack(list(generate(DECODER, *arguments, **options)), 1)


def test_greedy_writing_is_the_most_probable_token_each_time():
    ids = some_ids(1, 4)
    new = written(ids, max_new_tokens=6)
    for i in range(6):
        whole = np.concatenate([ids, new[:, :i]], 1)
        assert DECODER(whole).data[0, -1].argmax() == new[0, i]


def test_each_text_of_a_padded_batch_is_written_as_alone():
    lengths = [6, 2]
    ids, mask = np.zeros((2, 6), int), np.zeros((2, 6), bool)
    texts = [some_ids(1, n, seed=n) for n in lengths]
    for row, text in enumerate(texts):
        ids[row, 6 - text.size :], mask[row, 6 - text.size :] = text, True
    together = written(ids, mask, max_new_tokens=8)
    for row, text in enumerate(texts):
        assert together[row].tolist() == written(text, max_new_tokens=8)[0].tolist()


def test_embeddings_are_a_prompt_too():
    ids = some_ids(2, 4)
    np.testing.assert_array_equal(
        written(DECODER.embed(ids), max_new_tokens=4), written(ids, max_new_tokens=4)
    )


def test_a_text_ends_at_a_stop_token_and_the_batch_when_all_have():
    ids = some_ids(2, 4)
    free = written(ids, max_new_tokens=10)
    stop = int(free[0, 2])
    new = written(ids, max_new_tokens=10, stop={stop}, pad=29)
    end = [int((row == stop).argmax()) if stop in row else 9 for row in free]
    assert new.shape[1] == max(end) + 1
    for row, free_row, at in zip(new, free, end, strict=True):
        assert row[: at + 1].tolist() == free_row[: at + 1].tolist()
        assert set(row[at + 1 :].tolist()) <= {29}


def test_tokens_come_one_by_one():
    stream = generate(DECODER, some_ids(3, 4), max_new_tokens=5)
    assert next(stream).shape == (3,)
    assert len(list(stream)) == 4


def test_the_same_seed_writes_the_same_text_and_another_seed_another():
    options = {"max_new_tokens": 12, "sampling": Sampling(temperature=1.5)}
    one, two, other = (
        written(some_ids(), rng=np.random.default_rng(seed), **options) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


@given(temperature=st.floats(0.1, 5), top_k=st.integers(0, 6), top_p=st.floats(0.05, 1))
def test_probabilities_are_what_is_asked_for(temperature, top_k, top_p):
    logits = np.random.default_rng(0).standard_normal((3, 6))
    p = probabilities(logits, Sampling(temperature, top_k, top_p))
    np.testing.assert_allclose(p.sum(-1), 1)
    for row, x in zip(p, logits, strict=True):
        chance = np.exp(x / temperature)
        order = np.argsort(-chance)
        chance[order[top_k or 6 :]] = 0
        chance /= chance.sum()
        needed = int((chance[order].cumsum() < top_p - 1e-12).sum()) + 1
        chance[order[needed:]] = 0
        np.testing.assert_allclose(row, chance / chance.sum(), atol=1e-9)


def test_tokens_that_are_equal_to_the_kth_stay():
    p = probabilities(np.array([[1.0, 2.0, 2.0, 0.0]]), Sampling(1.0, top_k=1))
    np.testing.assert_allclose(p, [[0, 0.5, 0.5, 0]])


def test_tokens_are_drawn_as_often_as_probable():
    logits = np.tile(np.log([0.1, 0.6, 0.3]), (20_000, 1))
    drawn = choose(logits, Sampling(1.0), np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, [0.1, 0.6, 0.3], atol=0.02)


def test_a_penalty_lowers_only_what_has_occurred():
    logits = np.array([[2.0, -2.0, 2.0, -2.0]])
    seen = np.array([[True, True, False, False]])
    assert penalised(logits, seen, 2.0).tolist() == [[1, -4, 2, -2]]
    assert penalised(logits, seen, 1.0) is logits


def test_a_strong_penalty_keeps_a_text_from_repeating():
    ids = some_ids(2, 3)
    strong = written(ids, max_new_tokens=15, sampling=Sampling(repetition_penalty=1e6))
    for row, prompt in zip(strong, ids, strict=True):
        whole = [*prompt.tolist(), *row.tolist()]
        assert len(set(row.tolist())) == 15
        assert not set(prompt.tolist()) & set(row.tolist()), whole


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"temperature": -1.0}, "temperature -1.0"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_p": 0.0}, "top_p 0.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty 0.0"),
    ],
)
def test_sampling_says_what_is_wrong_with_it(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Sampling(**options)


def test_sampling_needs_an_rng():
    with pytest.raises(ValueError, match="needs an rng"):
        next(generate(DECODER, some_ids(), max_new_tokens=1, sampling=Sampling(1.0)))

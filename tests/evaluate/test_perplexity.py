import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.evaluate.perplexity import perplexity


def test_certainty_is_one_and_guessing_is_the_vocabulary():
    assert perplexity([(0.0, 7)]) == 1
    assert perplexity([(math.log(482), 3), (math.log(482), 40)]) == pytest.approx(482)


def test_every_token_counts_the_same_however_the_text_is_parted():
    assert perplexity([(1.0, 1), (0.0, 3)]) == pytest.approx(math.exp(0.25))


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 50)), min_size=1))
def test_it_lies_between_the_best_and_the_worst_part(parts):
    nats = [mean for mean, _ in parts]
    assert math.exp(min(nats)) * 0.999 <= perplexity(parts) <= math.exp(max(nats)) * 1.001


def test_a_text_without_tokens_is_refused():
    with pytest.raises(ValueError, match="without tokens"):
        perplexity([])

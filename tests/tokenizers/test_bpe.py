import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivlm.errors import InputError
from minivlm.tokenizers.bpe import BPE, PIECES

CAPTIONS = [
    "a small red circle on a navy background",
    "a large blue star above a red ring",
    "there is a red circle",
    "two objects: a blue star and a red circle",
] * 3

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))  # lone surrogates included


@pytest.fixture(scope="module")
def bpe():
    return BPE.train(CAPTIONS, 400)


@given(text=ANY_TEXT)
def test_any_text_comes_back_exactly(bpe, text):
    assert bpe.decode(bpe.encode(text)) == text
    assert "".join(PIECES.findall(text)) == text


def test_merges_are_learnt_most_frequent_first():
    bpe = BPE.train(["aaabdaaabac"], 259 + 3)  # the example of Gage 1994, as on Wikipedia
    a, b, d, c = (bpe.encode(letter)[0] for letter in "abdc")
    assert bpe.merges == [(a, a), (a, b), (259, 260)]
    assert bpe.encode("aaabdaaabac") == [261, d, 261, a, c]


def test_a_frequent_word_is_one_token_with_its_space(bpe):
    assert [bpe.decode([i]) for i in bpe.encode("a red circle")] == ["a", " red", " circle"]


def test_training_stops_when_no_pair_occurs_twice():
    assert BPE.train(["abcdef"], 1000).vocab_size == 3 + 256


def test_training_is_deterministic_and_no_two_tokens_spell_the_same():
    one, two = BPE.train(CAPTIONS, 400), BPE.train(reversed(CAPTIONS), 400)
    assert one.merges == two.merges
    spelled = one.tokens[3:]
    assert len(set(spelled)) == len(spelled)


def test_names_of_special_tokens_in_a_text_are_only_text(bpe):
    ids = bpe.encode("<end> <pad> <start>")
    assert min(ids) >= 3
    assert bpe.decode(ids) == "<end> <pad> <start>"


def test_decoding_leaves_special_tokens_out(bpe):
    ids = bpe.encode_batch(["a red ring"], 20)[0]
    assert bpe.decode(ids) == "a red ring"


def test_bytes_that_are_no_text_decode_to_a_sign(bpe):
    assert bpe.decode([3 + 0xFF]) == "\ufffd"


def test_a_batch_is_padded_to_its_longest_text(bpe):
    ids = bpe.encode_batch(["a red circle", "a"], context=20)
    assert ids.shape == (2, 5)
    assert ids.dtype == np.int64
    assert ids[1].tolist() == [1, bpe.encode("a")[0], 2, 0, 0]


def test_a_long_text_is_cut_and_still_ends(bpe):
    ids = bpe.encode_batch(["a red circle on a navy background"], context=5)
    assert ids.shape == (1, 5)
    assert ids[0, 0] == 1
    assert ids[0, -1] == bpe.end == 2


def test_an_empty_batch_and_an_empty_text_are_no_special_case(bpe):
    assert bpe.encode_batch([], 10).shape == (0, 0)
    assert bpe.encode_batch([""], 10).tolist() == [[1, 2]]


def test_what_is_saved_loads_the_same(bpe, tmp_path):
    bpe.save(tmp_path / "tokenizer.json")
    loaded = BPE.load(tmp_path / "tokenizer.json")
    assert loaded.merges == bpe.merges
    assert loaded.encode(CAPTIONS[0]) == bpe.encode(CAPTIONS[0])


@given(texts=st.lists(st.text(alphabet="abc ", max_size=12), max_size=8))
def test_any_trained_vocabulary_loads_again(texts, tmp_path_factory):
    bpe = BPE.train(texts * 2, 300)
    path = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    bpe.save(path)
    assert BPE.load(path).merges == bpe.merges


def test_the_saved_file_can_be_read_by_a_person(bpe, tmp_path):
    bpe.save(tmp_path / "tokenizer.json")
    value = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert any("".join(pair) == "Ġcircle" for pair in value["merges"])


def test_more_special_tokens_may_be_added(tmp_path):
    bpe = BPE.train(CAPTIONS, 300, ("<pad>", "<start>", "<end>", "<image>"))
    bpe.save(tmp_path / "t.json")
    assert BPE.load(tmp_path / "t.json").special("<image>") == 3


def test_a_vocabulary_too_small_for_the_bytes_is_an_error():
    with pytest.raises(ValueError, match="vocabulary of 100 is smaller than 259"):
        BPE.train([], 100)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "other"}, '"format" is not'),
        ({"specials": None}, '"specials" is not a list of different strings'),
        ({"specials": ["<pad>", "<pad>"]}, '"specials" is not a list of different strings'),
        ({"specials": ["<pad>", "<start>"]}, '"specials" lack <end>'),
        ({"merges": 3}, '"merges" is not a list'),
        ({"merges": [["a", "b"], ["c"]]}, "merge 2 is not a pair of strings"),
        ({"merges": [["ab", "c"]]}, 'merge 1 joins "ab", no token before it'),
        ({"merges": [["a", "b"], ["a", "b"]]}, 'merge 2 makes "ab" a second time'),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, bpe, change, sentence):
    path = tmp_path / "tokenizer.json"
    bpe.save(path)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change))
    with pytest.raises(InputError) as error:
        BPE.load(path)
    assert str(path) in str(error.value)
    assert sentence in str(error.value)

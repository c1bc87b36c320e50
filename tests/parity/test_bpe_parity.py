"""Our encoding against Hugging Face's tokenizers with the same merges."""

import numpy as np
import pytest

from minivlm.tokenizers.bpe import _ALPHABET, BPE, PIECES

tokenizers = pytest.importorskip("tokenizers")


def spelled(token):
    return "".join(_ALPHABET[byte] for byte in token)


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    words = ["red", "circle", "Straße", "naïve", "star", "犬", "12", "3.5", "été", "🙂"]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(200)]
    ours = BPE.train(texts, 400)
    vocab = {name: i for i, name in enumerate(ours.specials)}
    vocab |= {spelled(ours.tokens[i]): i for i in range(3, ours.vocab_size)}
    merges = [(spelled(ours.tokens[a]), spelled(ours.tokens[b])) for a, b in ours.merges]
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=merges))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(
                # their regular expressions have no [^\W\d_]; this says the same
                tokenizers.Regex(r" ?[\p{L}\p{M}\p{Nl}\p{No}&&[\w]]+| ?\d+| ?([^\w\s]|_)+|\s+"),
                "isolated",
            ),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return ours, theirs, texts


def test_encodings_agree(pair):
    ours, theirs, texts = pair
    others = [
        "",
        "  two  spaces",
        "a\n\tb",
        "snake_case_1",
        "redcircle",
        "staré 12star!?",
        "犬犬🙂🙂",
    ]
    for text in [*texts[:50], *others]:
        assert ours.encode(text) == theirs.encode(text).ids, text
        assert PIECES.findall(text) or not text

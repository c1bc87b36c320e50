"""What `minivlm bench decode` compares is the same model: same logits, same text."""

from dataclasses import replace

import numpy as np
import pytest

from minivlm.models.decoder import Decoder
from minivlm.models.generate import generate
from minivlm.recipes import bench_decode
from tests.models.test_decoder import CONFIG, some_ids

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from minivlm.recipes import bench_llama  # noqa: E402, needs both


@pytest.fixture(autouse=True)
def threads():
    """As many as before, for other tests."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


UNTIED = replace(CONFIG, tied=False)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_theirs_with_our_weights_has_our_logits(scaled, tied):
    config = replace(CONFIG, scale_embeddings=scaled, tied=tied, rope_base=1e5)
    rng = np.random.default_rng(0)
    ours, ids = Decoder(config, rng), some_ids()
    for p in ours.parameters():  # norms, too, differ from each other
        p.data[:] *= rng.uniform(0.5, 1.5, p.shape)
    with torch.inference_mode():
        theirs = bench_llama.llama(ours)(torch.tensor(ids)).logits.numpy()
    np.testing.assert_allclose(ours(ids).data, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_write_the_same_text_greedily(seed):
    ours = Decoder(UNTIED, np.random.default_rng(seed))
    prompt = some_ids(1, 5, seed=seed)
    written = [int(token[0]) for token in generate(ours, prompt, max_new_tokens=25)]
    assert list(bench_llama.write(bench_llama.llama(ours), prompt, 25)) == written
    assert len(set(written)) > 3


def test_the_bench_is_of_models_that_do_not_repeat_themselves():
    for config in bench_decode.SIZES.values():
        small = replace(
            config, vocabulary=512, width=64, heads=4, key_heads=4, hidden=168, layers=2
        )
        ours = Decoder(small, np.random.default_rng(0))
        prompt = np.random.default_rng(0).integers(512, size=(1, bench_decode.PROMPT))
        written = [int(token[0]) for token in generate(ours, prompt, max_new_tokens=20)]
        assert len(set(written)) > 3


def test_the_bench_has_a_time_for_both_and_says_that_they_agree(monkeypatch):
    monkeypatch.setattr(bench_decode, "SIZES", {"tiny": UNTIED})
    found = bench_decode.child("time", 2)
    assert found["sizes"]["tiny"]["same"] is True
    assert found["sizes"]["tiny"].keys() == {"minivlm", "transformers", "same"}
    assert min(found["sizes"]["tiny"].values()) > 0
    assert (found["repeats"], found["version"]) == (2, transformers.__version__)
    assert bench_decode.report(found).splitlines()[-1].endswith("  yes")


def test_the_bench_says_so_where_they_do_not_agree(monkeypatch):
    honest = bench_llama.llama

    def other(ours):
        return honest(Decoder(ours.config, np.random.default_rng(1)))

    monkeypatch.setattr(bench_decode, "SIZES", {"tiny": UNTIED})
    monkeypatch.setattr(bench_llama, "llama", other)
    found = bench_decode.child("time", 1)
    assert found["sizes"]["tiny"]["same"] is False
    assert bench_decode.report(found).splitlines()[-1].endswith("  NO")

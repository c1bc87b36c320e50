"""Our decoder against transformers' Llama with the same random weights."""

from dataclasses import replace

import numpy as np
import pytest

from minivlm.models.decoder import Decoder
from minivlm.ops.losses import cross_entropy
from tests.models.test_decoder import CONFIG, some_ids

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def their_name(name):
    for ours, theirs in (
        ("output", "lm_head"),
        ("tokens", "model.embed_tokens"),
        ("blocks", "model.layers"),
        ("final_norm", "model.norm"),
        ("norm1", "input_layernorm"),
        ("norm2", "post_attention_layernorm"),
        (".attn.", ".self_attn."),
        (".out.", ".o_proj."),
        (".q.", ".q_proj."),
        (".k.", ".k_proj."),
        (".v.", ".v_proj."),
        (".gate.", ".gate_proj."),
        (".up.", ".up_proj."),
        (".down.", ".down_proj."),
    ):
        name = name.replace(ours, theirs)
    return name


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def pair(request):
    c = replace(CONFIG, tied=request.param, scale_embeddings=False, rope_base=1e5)
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=c.vocabulary,
            hidden_size=c.width,
            intermediate_size=c.hidden,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            num_key_value_heads=c.key_heads,
            rms_norm_eps=c.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": c.rope_base},
            tie_word_embeddings=c.tied,
        )
    )
    ours = Decoder(c, np.random.default_rng(0))
    weights = {their_name(n): torch.tensor(a) for n, a in ours.state_dict().items()}
    found = theirs.load_state_dict(weights, strict=False)
    assert not found.unexpected_keys
    assert set(found.missing_keys) <= {"lm_head.weight"}
    theirs.tie_weights()
    return ours, theirs.eval()


def test_logits_and_every_gradient_agree(pair):
    ours, theirs = pair
    ids, labels = some_ids(), some_ids(seed=1)
    logits, expected = ours(ids), theirs(torch.tensor(ids)).logits
    np.testing.assert_allclose(logits.data, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    cross_entropy(logits, labels).backward()
    torch.nn.functional.cross_entropy(
        expected.flatten(0, 1), torch.tensor(labels).flatten()
    ).backward()
    grads = dict(theirs.named_parameters())
    for name, p in ours.named_parameters().items():
        np.testing.assert_allclose(
            p.grad, grads[their_name(name)].grad, rtol=1e-4, atol=1e-5, err_msg=name
        )

"""Our LLaVA against transformers' with the same random weights, pictures and text."""

from dataclasses import replace

import numpy as np
import pytest

from minivlm.models.llava import LLaVA
from minivlm.ops.losses import cross_entropy
from tests.models.test_llava import CONFIG
from tests.parity import test_clip_parity, test_decoder_parity

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def their_name(name):
    part, rest = name.split(".", 1)
    if part == "vision":
        return "model.vision_tower." + test_clip_parity.their_name(name).removeprefix(PREFIX)
    if part == "projector":
        rest = rest.replace("first", "linear_1").replace("second", "linear_2")
        return f"model.multi_modal_projector.{rest}"
    theirs = test_decoder_parity.their_name(rest)
    return (
        theirs if theirs.startswith("lm_head") else theirs.replace("model", "model.language_model")
    )


PREFIX = "vision_model."  # which the vision tower's names have in some releases


@pytest.fixture
def pair():
    config = replace(
        CONFIG,
        decoder=replace(CONFIG.decoder, tied=False, scale_embeddings=False),
        vision_layer=-2,
    )
    v, d = config.vision, config.decoder
    theirs = transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            vision_config=transformers.CLIPVisionConfig(
                image_size=v.image,
                patch_size=v.patch,
                hidden_size=v.width,
                intermediate_size=4 * v.width,
                num_attention_heads=v.heads,
                num_hidden_layers=v.layers,
            ),
            text_config=transformers.LlamaConfig(
                vocab_size=d.vocabulary,
                hidden_size=d.width,
                intermediate_size=d.hidden,
                num_hidden_layers=d.layers,
                num_attention_heads=d.heads,
                num_key_value_heads=d.key_heads,
                rms_norm_eps=d.norm_eps,
                tie_word_embeddings=False,
            ),
            image_token_index=config.image_token,
            vision_feature_layer=config.vision_layer,
            vision_feature_select_strategy="default",
            projector_hidden_act="gelu",
            image_seq_length=config.image_tokens,
        )
    )
    ours = LLaVA(config, np.random.default_rng(0))
    prefix = PREFIX if any(f"vision_tower.{PREFIX}" in k for k in theirs.state_dict()) else ""

    def name_there(name):
        return their_name(name).replace("vision_tower.", f"vision_tower.{prefix}")

    weights = {name_there(n): torch.tensor(a) for n, a in ours.state_dict().items()}
    found = theirs.load_state_dict(weights, strict=False)
    assert not found.unexpected_keys
    assert all("position_ids" in key for key in found.missing_keys)
    return ours, theirs.eval(), name_there


def test_logits_and_every_gradient_agree(pair):
    ours, theirs, name_there = pair
    rng = np.random.default_rng(0)
    M, image = ours.config.image_tokens, [ours.config.image_token]
    ids = np.array([[1, *image * M, 7, 8, 2, 3], [1, 9, *image * M, 3, 4, 6]])
    pixels = rng.standard_normal((2, 3, 16, 16), np.float32)
    logits = ours(ids, pixels)
    expected = theirs(input_ids=torch.tensor(ids), pixel_values=torch.tensor(pixels)).logits
    np.testing.assert_allclose(logits.data, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    cross_entropy(logits, ids).backward()
    torch.nn.functional.cross_entropy(
        expected.flatten(0, 1), torch.tensor(ids).flatten()
    ).backward()
    grads = dict(theirs.named_parameters())
    compared = 0
    for name, p in ours.named_parameters().items():
        if p.grad is not None:
            their = grads[name_there(name)].grad
            np.testing.assert_allclose(p.grad, their, rtol=2e-4, atol=2e-5, err_msg=name)
            compared += 1
    assert compared > 40

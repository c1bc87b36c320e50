"""Our CLIP against transformers' with the same random weights: each stage within 1e-5."""

from dataclasses import replace

import numpy as np
import pytest

from minivlm.models.clip import CLIP
from tests.models.tiny import CONFIG, tiny_batch

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def their_name(name):
    for ours, theirs in (
        ("vision.patch_weight", "vision_model.embeddings.patch_embedding.weight"),
        ("vision.class_token", "vision_model.embeddings.class_embedding"),
        ("vision.positions", "vision_model.embeddings.position_embedding.weight"),
        ("vision.pre_norm", "vision_model.pre_layrnorm"),
        ("vision.post_norm", "vision_model.post_layernorm"),
        ("text.tokens", "text_model.embeddings.token_embedding"),
        ("text.positions", "text_model.embeddings.position_embedding.weight"),
        ("text.final_norm", "text_model.final_layer_norm"),
        ("vision.blocks", "vision_model.encoder.layers"),
        ("text.blocks", "text_model.encoder.layers"),
        ("norm1", "layer_norm1"),
        ("norm2", "layer_norm2"),
        ("attn.q", "self_attn.q_proj"),
        ("attn.k", "self_attn.k_proj"),
        ("attn.v", "self_attn.v_proj"),
        ("attn.out", "self_attn.out_proj"),
        ("image_projection", "visual_projection"),
        ("log_scale", "logit_scale"),
    ):
        name = name.replace(ours, theirs)
    return name


END = 19  # the highest id, so that both of transformers' rules for the end token agree


@pytest.fixture
def pair():
    config = replace(CONFIG, text=replace(CONFIG.text, end=END))
    v, t = config.vision, config.text
    sizes = [
        {
            "hidden_size": tower.width,
            "intermediate_size": 4 * tower.width,
            "num_attention_heads": tower.heads,
            "num_hidden_layers": tower.layers,
        }
        for tower in (v, t)
    ]
    theirs = transformers.CLIPModel(
        transformers.CLIPConfig(
            vision_config=sizes[0] | {"image_size": v.image, "patch_size": v.patch},
            text_config=sizes[1]
            | {
                "vocab_size": t.vocabulary,
                "max_position_embeddings": t.context,
                "eos_token_id": END,
                "bos_token_id": 1,
                "pad_token_id": 0,
            },
            projection_dim=config.embed,
        )
    )
    ours = CLIP(config, np.random.default_rng(0))
    weights = {their_name(n): torch.tensor(a) for n, a in ours.state_dict().items()}
    found = theirs.load_state_dict(weights, strict=False)
    assert not found.unexpected_keys
    assert all("position_ids" in key for key in found.missing_keys)
    return ours, theirs.eval()


def batch():
    pixels, ids = tiny_batch()
    ids[ids == END] = END - 1
    ids[ids == 2] = END
    return pixels, ids


def test_every_hidden_state_of_the_vision_tower_agrees(pair):
    ours, theirs = pair
    pixels, _ = batch()
    expected = theirs.vision_model(torch.from_numpy(pixels), output_hidden_states=True)
    for mine, their in zip(ours.vision.hidden_states(pixels), expected.hidden_states, strict=True):
        np.testing.assert_allclose(mine.data, their.detach().numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        ours.vision(pixels).data, expected.pooler_output.detach().numpy(), rtol=1e-5, atol=1e-5
    )


def test_logits_loss_and_every_gradient_agree(pair):
    ours, theirs = pair
    pixels, ids = batch()
    output = theirs(
        input_ids=torch.from_numpy(ids), pixel_values=torch.from_numpy(pixels), return_loss=True
    )
    np.testing.assert_allclose(
        ours(pixels, ids).data, output.logits_per_image.detach().numpy(), rtol=1e-5, atol=1e-5
    )
    loss = ours.loss(pixels, ids)
    assert loss.item() == pytest.approx(output.loss.item(), rel=1e-5)
    loss.backward()
    output.loss.backward()
    expected = dict(theirs.named_parameters())
    for name, p in ours.named_parameters().items():
        their = expected[their_name(name)].grad
        np.testing.assert_allclose(p.grad, their, rtol=2e-4, atol=2e-5, err_msg=name)

"""transformers' Llama with the weights of a decoder of ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from inspect import signature

import numpy as np

from minivlm.errors import InputError
from minivlm.models.decoder import Decoder

try:
    import torch
    import transformers
except ImportError:
    raise InputError(
        'bench needs transformers to compare with: pip install "minivlm[reference]"'
    ) from None

THEIR_NAMES = (
    ("output", "lm_head"),
    ("tokens", "model.embed_tokens"),
    ("blocks", "model.layers"),
    ("final_norm", "model.norm"),
    ("norm1", "input_layernorm"),
    ("norm2", "post_attention_layernorm"),
    ("attn.out", "self_attn.o_proj"),
    ("attn.q", "self_attn.q_proj"),
    ("attn.k", "self_attn.k_proj"),
    ("attn.v", "self_attn.v_proj"),
    ("gate", "gate_proj"),
    ("up", "up_proj"),
    ("down", "down_proj"),
)


def llama(ours: Decoder) -> transformers.LlamaForCausalLM:
    """Theirs with our weights; scaled or tied embeddings become a table and a matrix of its own."""
    c = ours.config
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=c.vocabulary,
            hidden_size=c.width,
            intermediate_size=c.hidden,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            num_key_value_heads=c.key_heads,
            rms_norm_eps=c.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": c.rope_base},
            tie_word_embeddings=False,
        )
    )
    weights = {_their_name(name): array for name, array in ours.state_dict().items()}
    table = weights["model.embed_tokens.weight"]
    weights.setdefault("lm_head.weight", table)
    scale = math.sqrt(c.width) if c.scale_embeddings else 1.0
    weights["model.embed_tokens.weight"] = table * np.float32(scale)
    model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return model.eval()


def write(model: transformers.LlamaForCausalLM, prompt: np.ndarray, count: int) -> Iterator[int]:
    """The most probable tokens after a prompt (1, T), with transformers' cache."""
    torch.set_num_threads(1)
    ids, cache = torch.tensor(prompt), transformers.DynamicCache()
    name = "cache" if "cache" in signature(model.forward).parameters else "past_key_values"
    for _ in range(count):
        with torch.inference_mode():  # the cache takes up each token that is read
            out = model(ids, **{name: cache}, use_cache=True, logits_to_keep=1)
        ids = out.logits[:, -1].argmax(-1, keepdim=True)
        yield int(ids)


def version() -> str:
    """Of transformers."""
    return transformers.__version__


def _their_name(name: str) -> str:
    for ours, theirs in THEIR_NAMES:
        name = name.replace(ours, theirs)
    return name

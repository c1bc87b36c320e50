"""The tiny CLIP of `bench.py` in PyTorch eager, as one would write it, from the same weights."""

from collections.abc import Callable

import numpy as np

from minivlm.errors import InputError
from minivlm.models.clip import CLIP

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError:
    raise InputError(
        'bench needs PyTorch to compare with: pip install "minivlm[reference]"'
    ) from None


class TorchBlock(nn.Module):
    """Pre-norm transformer block with fused q, k, v and scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads, self.causal = heads, causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, T, D)."""
        B, T, D = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(B, T, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, D))
        h = self.fc1(self.norm2(x))
        return x + self.fc2(h * torch.sigmoid(1.702 * h))


class TorchCLIP(nn.Module):
    """Both towers and the contrastive loss."""

    def __init__(self, ours: CLIP):
        super().__init__()
        v, t, embed = ours.config.vision, ours.config.text, ours.config.embed
        self.end = t.end
        self.conv = nn.Conv2d(3, v.width, v.patch, v.patch, bias=False)
        self.class_token = nn.Parameter(torch.zeros(v.width))
        self.image_positions = nn.Parameter(torch.zeros(v.patches + 1, v.width))
        self.pre_norm, self.post_norm = nn.LayerNorm(v.width), nn.LayerNorm(v.width)
        self.image_blocks = nn.Sequential(
            *(TorchBlock(v.width, v.heads, causal=False) for _ in range(v.layers))
        )
        self.image_projection = nn.Linear(v.width, embed, bias=False)
        self.tokens = nn.Embedding(t.vocabulary, t.width)
        self.text_positions = nn.Parameter(torch.zeros(t.context, t.width))
        self.text_blocks = nn.Sequential(
            *(TorchBlock(t.width, t.heads, causal=True) for _ in range(t.layers))
        )
        self.final_norm = nn.LayerNorm(t.width)
        self.text_projection = nn.Linear(t.width, embed, bias=False)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.load_state_dict(_renamed(ours))

    def forward(self, pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Pixels (B, 3, S, S) and ids (B, T) -> the symmetric contrastive loss."""
        x = self.conv(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], 1) + self.image_positions
        x = self.image_blocks(self.pre_norm(x))
        image = F.normalize(self.image_projection(self.post_norm(x[:, 0])), dim=-1)
        x = self.text_blocks(self.tokens(ids) + self.text_positions[: ids.shape[1]])
        x = x[torch.arange(len(x)), (ids == self.end).int().argmax(1)]
        text = F.normalize(self.text_projection(self.final_norm(x)), dim=-1)
        logits = self.log_scale.exp() * image @ text.T
        labels = torch.arange(len(logits))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def torch_step(ours: CLIP) -> Callable[[np.ndarray, np.ndarray], float]:
    """A training step of PyTorch with its default AdamW, from the weights of `ours`."""
    torch.set_num_threads(1)
    model = TorchCLIP(ours)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)

    def step(pixels: np.ndarray, ids: np.ndarray) -> float:
        optimizer.zero_grad()
        loss = model(torch.from_numpy(pixels), torch.from_numpy(ids))
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_version() -> str:
    """The release of PyTorch, without its build tag."""
    return torch.__version__.split("+")[0]


def _renamed(ours: CLIP) -> dict[str, torch.Tensor]:
    """Our weights under the names above, q, k and v joined into one matrix."""
    mine = {name: torch.tensor(array) for name, array in ours.state_dict().items()}
    names = {
        "vision.patch_weight": "conv.weight",
        "vision.class_token": "class_token",
        "vision.positions": "image_positions",
        "text.tokens.weight": "tokens.weight",
        "text.positions": "text_positions",
    }
    theirs: dict[str, torch.Tensor] = {}
    for name, array in mine.items():
        if ".attn.q." in name:
            parts = [mine[name.replace(".q.", f".{part}.")] for part in "qkv"]
            name, array = name.replace("attn.q.", "qkv."), torch.cat(parts)
        elif ".attn.k." in name or ".attn.v." in name:
            continue
        name = names.get(name, name)
        for ours_part, theirs_part in (
            ("vision.blocks", "image_blocks"),
            ("text.blocks", "text_blocks"),
            ("vision.", ""),
            ("text.", ""),
            ("attn.", ""),
            ("mlp.", ""),
        ):
            name = name.replace(ours_part, theirs_part)
        theirs[name] = array
    return theirs

"""One training step of a tiny CLIP, to be walked through in a debugger, forward and back.

Put a breakpoint in `attention_backward` (minivlm/ops/attention.py) and run this: it stops in the
middle of the backward pass, with every array of the step at hand.
"""

import numpy as np

from minivlm.models.clip import CLIP, CLIPConfig
from minivlm.models.text import TextConfig
from minivlm.models.vit import ViTConfig
from minivlm.train.optim import AdamW

rng = np.random.default_rng(0)
config = CLIPConfig(
    vision=ViTConfig(image=32, patch=8, width=64, heads=4, layers=2),
    text=TextConfig(vocabulary=100, context=12, width=64, heads=4, layers=2, end=2),
    embed=32,
)
model = CLIP(config, rng)
optimizer = AdamW(model.named_parameters(), lr=1e-3)

pixels = rng.standard_normal((8, 3, 32, 32), np.float32)  # (B, 3, S, S)
ids = rng.integers(3, 100, (8, 12))  # (B, T)
ids[:, -1] = config.text.end

loss = model.loss(pixels, ids)  # step into: patches, attention, similarity
loss.backward()  # step into: the same way back
optimizer.step()
print("loss", loss.item(), "→", model.loss(pixels, ids).item())

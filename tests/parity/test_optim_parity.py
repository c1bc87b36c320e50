"""Our optimizers against PyTorch's, over twenty steps on the same gradients."""

import numpy as np
import pytest

from minivlm.tensor import Tensor
from minivlm.train.muon import Muon
from minivlm.train.optim import SGD, AdamW

torch = pytest.importorskip("torch")

PAIRS = {
    "sgd": (
        lambda p: SGD(p, lr=0.05, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    ),
    "adamw": (
        lambda p: AdamW(p, lr=0.01, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2),
        lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2),
    ),
    "muon": (
        lambda p: Muon(p, lr=0.02, weight_decay=0.1),
        lambda p: torch.optim.Muon(p, lr=0.02, weight_decay=0.1, momentum=0.95),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", [(24, 10), (10, 24)])
def test_twenty_steps_agree(name, shape):
    if name == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("Muon came with PyTorch 2.9")
    rng = np.random.default_rng(0)
    start = rng.standard_normal(shape)
    ours = Tensor(start.copy(), requires_grad=True)
    theirs = torch.tensor(start, requires_grad=True)
    mine = PAIRS[name][0]({"fc.weight": ours})
    other = PAIRS[name][1]([theirs])
    for _ in range(20):
        grad = rng.standard_normal(shape)
        ours.grad, theirs.grad = grad.copy(), torch.tensor(grad)
        mine.step()
        other.step()
    # PyTorch's Muon works in bfloat16, so its update is right to two or three digits
    tolerance = 0.02 if name == "muon" else 1e-10
    moved = np.abs(theirs.detach().numpy() - start).max()
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), atol=tolerance * moved)

"""The contrastive loss to be measured: rungs C1 to C5 beside what one writes in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from minivlm_kernels.benchmark.accuracy import (
    TOLERANCES,
    Error,
    absolute,
    host,
    pair_gradient_rows,
    pair_lse_rows,
    relative,
    sampled,
)
from minivlm_kernels.benchmark.device import Device, as_tensor
from minivlm_kernels.benchmark.timing import Contender, Inputs
from minivlm_kernels.benchmark.torch_losses import chunked_loss, dense_loss, log_sum_exps
from minivlm_kernels.seams import contrastive_rungs

ROWS = 64  # sampled for a check
SCALE = 1 / 0.07  # the inverse temperature at which CLIP starts
CHUNK = 65536  # embeddings that are looked at together
NAMES = ("nats", "row_lse", "col_lse", "d_image", "d_text", "d_log_scale")


@dataclass(frozen=True)
class Contrastive:
    """Symmetric InfoNCE of N pairs, forward alone or with its gradients.

    Attributes:
        N: pairs.
        E: width of an embedding.
        dtype: "float32" or "bfloat16".
        backward: the gradients, too.
        tile: tile×tile threads of a block in Numba's rungs; None is what each takes by itself.
    """

    N: int
    E: int
    dtype: str
    backward: bool = False
    tile: int | None = None

    @property
    def title(self) -> str:
        """What is measured, in words."""
        way = "forward and backward" if self.backward else "forward"
        return f"contrastive loss, {way}, {self.dtype}, N {self.N:,}, E {self.E}"

    @property
    def rows(self) -> int:
        """What memory is to grow with."""
        return self.N

    @property
    def operations(self) -> float:
        """Useful ones: a product of N×N×E forward, and four in all, one of them computed twice."""
        return (8 if self.backward else 2) * self.N * self.N * self.E

    def small(self) -> Contrastive:
        """The same kernels on little work."""
        return replace(self, N=min(self.N, 256))

    def inputs(self, device: Device, seed: int) -> Inputs:
        """Embeddings of unit length (N, E), each text somewhere near its image."""
        generator = torch.Generator(device.name).manual_seed(seed)
        dtype = getattr(torch, self.dtype)
        image, text = (torch.empty(self.N, self.E, dtype=dtype, device=device.name) for _ in "it")
        for start in range(0, self.N, CHUNK):  # in float32, all of them might not fit
            here = slice(start, min(start + CHUNK, self.N))
            shape = (here.stop - start, self.E)
            a, b = (torch.randn(shape, generator=generator, device=device.name) for _ in "ab")
            image[here] = F.normalize(a)
            text[here] = F.normalize(a + 2 * b)
        scale = torch.full((1,), SCALE, device=device.name)
        tensors = {"image": image, "text": text, "scale": scale}
        return Inputs(tensors, {name: device.array(x) for name, x in tensors.items()})

    def contenders(self) -> list[Contender]:
        """The rungs of this dtype and direction, then PyTorch's two ways."""
        if self.dtype == "float32":
            rungs = ("C1", "C2+C3") if self.backward else ("C1", "C2")
        else:
            rungs = ("C4+C5",) if self.backward else ("C4",)
        ours = [Contender(rung, True, partial(self._rung, rung)) for rung in rungs]
        torchs = {"torch dense": dense_loss, "torch chunked": chunked_loss}
        return ours + [
            Contender(name, False, partial(self._torch, loss)) for name, loss in torchs.items()
        ]

    def judge(self, device: Device, inputs: Inputs) -> Callable[[tuple], dict[str, Error]]:
        """Computes sampled rows of these inputs once; the function tells how far outputs are off.

        Sampled log-sum-exps are computed from the inputs. The loss must be the mean of all of
        them, and a sampled gradient is computed from all of the other side's. d_log_scale is
        Σ d_image · image, for the loss knows only scale · image.
        """
        image, text = inputs.tensors["image"], inputs.tensors["text"]
        scale = float(inputs.tensors["scale"])
        rows = sampled(np.random.default_rng(0), self.N, ROWS)
        at = torch.from_numpy(rows)
        images, texts = host(image[at]), host(text[at])
        row_lse = pair_lse_rows(images, text, scale)
        col_lse = pair_lse_rows(texts, image, scale)
        diagonal = scale * _inner_product(image, text)
        allowed = TOLERANCES[self.dtype]

        def judge(outputs: tuple) -> dict[str, Error]:
            named = zip(NAMES, outputs, strict=False)
            got = {name: as_tensor(device, x) for name, x in named if x is not None}
            if "row_lse" not in got:  # PyTorch's losses keep theirs to themselves
                got["row_lse"], got["col_lse"] = log_sum_exps(image, text, scale)
            rows_all, cols_all = host(got["row_lse"]), host(got["col_lse"])
            nats = (rows_all.mean() + cols_all.mean()) / 2 - diagonal / self.N
            errors = {
                "nats": absolute(host(got["nats"]), nats, allowed["lse"]),
                "row_lse": absolute(rows_all[rows], row_lse, allowed["lse"]),
                "col_lse": absolute(cols_all[rows], col_lse, allowed["lse"]),
            }
            if not self.backward:
                return errors
            limit = allowed["pairs"]
            d_image = pair_gradient_rows(images, text, scale, rows, row_lse, cols_all)
            d_text = pair_gradient_rows(texts, image, scale, rows, col_lse, rows_all)
            errors["d_image"] = relative(host(got["d_image"][at]), d_image, limit)
            errors["d_text"] = relative(host(got["d_text"][at]), d_text, limit)
            for name, side in (("d_image", image), ("d_text", text)):
                size = math.sqrt(_inner_product(got[name], got[name]) * self.N)
                off = abs(float(got["d_log_scale"]) - _inner_product(got[name], side))
                errors[f"d_log_scale by {name}"] = Error(off / max(size, 1e-30), limit)
            return errors

        return judge

    def _rung(self, rungs: str, inputs: Inputs) -> Callable[[], tuple]:
        image, text, scale = (inputs.arrays[name] for name in ("image", "text", "scale"))
        forward, backward = contrastive_rungs(rungs.split("+")[0], sigmoid=False)
        if self.dtype == "float32" and self.tile is not None:
            forward, backward = (partial(f, tile=self.tile) for f in (forward, backward))

        def work() -> tuple:
            nats, row_lse, col_lse = forward(image, text, scale)
            if not self.backward:
                return nats, row_lse, col_lse
            gradients = backward(image, text, scale, row_lse, col_lse)
            return nats, row_lse, col_lse, *gradients

        return work

    def _torch(self, loss: Callable, inputs: Inputs) -> Callable[[], tuple]:
        image, text = inputs.tensors["image"], inputs.tensors["text"]
        log_scale = inputs.tensors["scale"][0].log()
        if not self.backward:

            def ahead() -> tuple:
                with torch.no_grad():
                    return (loss(image, text, log_scale), None, None)

            return ahead
        leaves = [x.detach().requires_grad_() for x in (image, text, log_scale)]

        def both_ways() -> tuple:
            nats = loss(*leaves)
            return nats, None, None, *torch.autograd.grad(nats, leaves)

        return both_ways


def _inner_product(a: torch.Tensor, b: torch.Tensor) -> float:
    """Σ a · b over all numbers, in float64 on the host; NaN where there is one."""
    chunks = zip(a.split(CHUNK), b.split(CHUNK), strict=True)
    return sum(float((host(x) * host(y)).sum()) for x, y in chunks)

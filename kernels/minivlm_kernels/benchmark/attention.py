"""Attention to be measured: rungs A1 to A8 beside PyTorch's scaled_dot_product_attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from minivlm_kernels.benchmark.accuracy import (
    TOLERANCES,
    Error,
    absolute,
    attention_gradient_rows,
    attention_rows,
    host,
    relative,
    sampled,
)
from minivlm_kernels.benchmark.device import Device, as_tensor
from minivlm_kernels.benchmark.timing import Contender, Inputs
from minivlm_kernels.seams import NUMBA, attention_rung

HEADS, ROWS = 4, 16  # sampled for a check: 64 rows in all
BACKENDS = {
    "math": SDPBackend.MATH,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
}


@dataclass(frozen=True)
class Attention:
    """Attention of one shape, forward or backward; as many keys as queries, each head its own.

    Attributes:
        B: batch.
        H: heads.
        T: positions.
        C: channels of a head.
        dtype: "float32" or "bfloat16".
        causal: no position looks ahead.
        backward: the gradients alone, after a forward pass that is not timed.
        tile: threads of a block in Numba's rungs; None is what each takes by itself.
    """

    B: int
    H: int
    T: int
    C: int
    dtype: str
    causal: bool = False
    backward: bool = False
    tile: int | None = None

    @property
    def title(self) -> str:
        """What is measured, in words."""
        way = "backward" if self.backward else "forward"
        look = ", causal" if self.causal else ""
        return (
            f"attention {way}, {self.dtype}, B {self.B}, H {self.H}, T {self.T:,}, C {self.C}{look}"
        )

    @property
    def rows(self) -> int:
        """What memory is to grow with."""
        return self.T

    @property
    def operations(self) -> float:
        """Useful ones, as the field counts: two products of T×T×C forward, five backward."""
        forward = 4 * self.B * self.H * self.T * self.T * self.C
        return forward * (2.5 if self.backward else 1) * (0.5 if self.causal else 1)

    def small(self) -> Attention:
        """The same kernels on little work."""
        return replace(self, B=1, H=1, T=min(self.T, 256))

    def inputs(self, device: Device, seed: int) -> Inputs:
        """Normal q, k, v and do (B, H, T, C)."""
        generator = torch.Generator(device.name).manual_seed(seed)
        shape, dtype = (self.B, self.H, self.T, self.C), getattr(torch, self.dtype)
        tensors = {
            name: torch.randn(shape, generator=generator, dtype=dtype, device=device.name)
            for name in ("q", "k", "v", "do")
        }
        return Inputs(tensors, {name: device.array(x) for name, x in tensors.items()})

    def contenders(self) -> list[Contender]:
        """The rungs of this dtype and direction, then PyTorch's backends."""
        if self.backward:
            rung = "A4" if self.dtype == "float32" else "A8"
            ours = [Contender(rung, True, partial(self._rung_backward, rung))]
        else:
            rungs = ("A1", "A2", "A3", "A5") if self.dtype == "float32" else ("A6", "A7")
            ours = [Contender(rung, True, partial(self._rung_forward, rung)) for rung in rungs]
        torchs = self._torch_backward if self.backward else self._torch_forward
        return ours + [
            Contender(f"torch {name}", False, partial(torchs, backend))
            for name, backend in BACKENDS.items()
        ]

    def judge(self, device: Device, inputs: Inputs) -> Callable[[tuple], dict[str, Error]]:
        """Computes sampled rows of these inputs once; the function tells how far outputs are off.

        Outputs are (o, lse) or (o,) of a forward pass, (dq, dk, dv) of a backward one.
        """
        rng = np.random.default_rng(0)
        heads = [divmod(int(n), self.H) for n in sampled(rng, self.B * self.H, HEADS)]
        rows = sampled(rng, self.T, ROWS)
        truths = [self._truth(inputs, b, h, rows) for b, h in heads]
        names = ("dq", "dk", "dv") if self.backward else ("o", "lse")
        allowed = TOLERANCES[self.dtype]

        def judge(outputs: tuple) -> dict[str, Error]:
            errors = {}
            for name, output in zip(names, outputs, strict=False):
                tensor = as_tensor(device, output)
                expected = np.stack([truth[name] for truth in truths])
                got = np.stack([host(tensor[b, h])[rows] for b, h in heads])
                if not torch.isfinite(tensor).all():
                    got = np.full_like(expected, np.nan)
                if name == "lse":
                    errors[name] = absolute(got, expected, allowed["lse"])
                else:
                    kind = "gradients" if self.backward else "values"
                    errors[name] = relative(got, expected, allowed[kind])
            return errors

        return judge

    def _truth(self, inputs: Inputs, b: int, h: int, rows: np.ndarray) -> dict[str, np.ndarray]:
        q, k, v, do = (host(inputs.tensors[name][b, h]) for name in ("q", "k", "v", "do"))
        if self.backward:
            return attention_gradient_rows(q, k, v, do, self.causal, rows)
        return attention_rows(q, k, v, self.causal, rows)

    def _rung_forward(self, rung: str, inputs: Inputs) -> Callable[[], tuple]:
        q, k, v = (inputs.arrays[name] for name in ("q", "k", "v"))
        forward = self._rung(rung)
        return lambda: forward(q, k, v, causal=self.causal)

    def _rung_backward(self, rung: str, inputs: Inputs) -> Callable[[], tuple]:
        q, k, v, do = (inputs.arrays[name] for name in ("q", "k", "v", "do"))
        ahead = self._rung("A3" if rung == "A4" else "A7")
        o, lse = ahead(q, k, v, causal=self.causal)
        backward = self._rung(rung)
        return lambda: backward(q, k, v, o, lse, do, causal=self.causal)

    def _rung(self, name: str) -> Callable[..., tuple]:
        """A rung's function; Numba's take the tile of this workload."""
        rung = attention_rung(name)
        if self.tile is None or name not in NUMBA:
            return rung
        return partial(rung, tile=self.tile)

    def _torch_forward(self, backend: SDPBackend, inputs: Inputs) -> Callable[[], tuple]:
        q, k, v = (inputs.tensors[name] for name in ("q", "k", "v"))

        def work() -> tuple:
            with torch.no_grad(), sdpa_kernel(backend):
                return (F.scaled_dot_product_attention(q, k, v, is_causal=self.causal),)

        return work

    def _torch_backward(self, backend: SDPBackend, inputs: Inputs) -> Callable[[], tuple]:
        q, k, v = (inputs.tensors[name].detach().requires_grad_() for name in ("q", "k", "v"))
        with sdpa_kernel(backend):
            o = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return lambda: torch.autograd.grad(o, (q, k, v), inputs.tensors["do"])

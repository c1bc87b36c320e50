"""Launches a rung with more shared memory than a block may have before Hopper."""

from pathlib import Path

from minivlm_kernels.cuda.load import load

MODERN = Path(__file__).with_name("a6_modern.cu")


def forward_modern(q, k, v, mask=None, causal=False):
    kernels = load(MODERN, like=q, C=q.shape[-1])
    kernels.launch("copied", (1,), (128,), (q, k), 170 * 1024)

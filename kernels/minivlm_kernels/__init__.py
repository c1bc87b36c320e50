"""CUDA kernels for minivlm's attention and contrastive loss, which run without a GPU too.

    import minivlm_kernels
    minivlm_kernels.install()            # from here on, arrays on a GPU take the rungs
    print(minivlm_kernels.explain_attention(q, k))

What needs Numba or ml_dtypes is imported when it is asked for, so that `minivlm_kernels.doctor` can
tell that they are missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minivlm_kernels.installing import explain_attention, explain_contrast, install, uninstall
    from minivlm_kernels.seams import KernelFallback

__all__ = [
    "KernelFallback",
    "explain_attention",
    "explain_contrast",
    "install",
    "uninstall",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from minivlm_kernels import installing, seams

    return getattr(seams if name == "KernelFallback" else installing, name)

"""What the contrastive rungs ask of the arrays beside the embeddings, each refusal one sentence."""

from __future__ import annotations

from minivlm.tensor import Array
from minivlm_kernels.arrays import F32
from minivlm_kernels.checks import check_arrays


def check_beside(rung: str, image: Array, shape: tuple[int, ...], **arrays: Array) -> None:
    """Float32 arrays of one shape, contiguous, on the device of the float32 images.

    Args:
        rung: its name, for the sentence.
        image: the embeddings, which have been checked.
        shape: (1,) for the scale and the bias, (N,) for log-sum-exps.
        **arrays: what is to be checked, by name.

    Raises:
        ValueError: an array differs; the sentence names it.
    """
    check_arrays(rung, F32, image=image, **arrays)
    for name, array in arrays.items():
        if array.shape != shape:
            raise ValueError(f"{rung}: {name} has shape {array.shape}, not {shape}")

"""Puts the rungs under minivlm's ops, and tells which of them an array takes.

minivlm never imports this package: `install` registers bodies at the seams that its ops offer.
"""

from __future__ import annotations

from minivlm.errors import InputError
from minivlm.ops.attention import attend
from minivlm.ops.contrastive import contrast, contrast_sigmoid
from minivlm.tensor import Array
from minivlm_kernels.rules import REFERENCE, Choice, Settings, choose_attention, choose_contrast
from minivlm_kernels.seams import (
    capability_of,
    make_attend,
    make_contrast,
    make_contrast_sigmoid,
)

SEAMS = (attend, contrast, contrast_sigmoid)

_installed: dict[type, Settings] = {}


def install(
    arrays: type | None = None, *, precision: str = "float32", dense_up_to: int = 4096
) -> None:
    """From now on, minivlm's ops take the rungs for arrays of this type.

    Args:
        arrays: the type; None means CuPy's, on a GPU. With `np.ndarray` the same kernels run on
            the CPU, through Numba's simulator and g++: slow, and good for stepping through.
        precision: "float32", or "bfloat16", which rounds float32 arrays on their way to the
            tensor cores and gives float32 back.
        dense_up_to: so many pairs N, in float32, still build their N×N matrix.

    Raises:
        InputError: CuPy, a GPU or its driver is missing.
        ValueError: the precision is unknown, or dense_up_to negative.
    """
    settings = Settings(precision, dense_up_to)
    arrays = arrays or _arrays_of_a_gpu()
    makers = (make_attend, make_contrast, make_contrast_sigmoid)
    for seam, maker in zip(SEAMS, makers, strict=True):
        seam.register(arrays)(maker(settings))
    _installed[arrays] = settings


def uninstall(arrays: type | None = None) -> None:
    """Arrays of this type take minivlm's NumPy bodies again."""
    arrays = arrays or _arrays_of_a_gpu()
    for seam in SEAMS:
        seam.register(arrays)(seam.dispatch(object))
    _installed.pop(arrays, None)


def explain_attention(q: Array, k: Array) -> str:
    """Which rungs an attention of these arrays takes, and why."""
    C, T = q.shape[-1], q.shape[2]
    choice = choose_attention(q.dtype, C, T, _settings(q), capability_of(q))
    return _sentence(f"attention of q {q.shape} and k {k.shape}", choice)


def explain_contrast(image: Array, positives: Array | None = None) -> str:
    """Which rungs the contrastive losses of these embeddings take, and why."""
    N, diagonal = len(image), positives is None
    choice = choose_contrast(image.dtype, N, diagonal, _settings(image), capability_of(image))
    return _sentence(f"contrast of {image.shape}", choice)


def _settings(array: Array) -> Settings:
    if type(array) not in _installed:
        raise InputError(f"no kernels are installed for {type(array).__name__}; call install first")
    return _installed[type(array)]


def _sentence(what: str, choice: Choice) -> str:
    if choice.forward == REFERENCE:
        return f"{what}: the NumPy reference ({choice.why})"
    return f"{what}: {choice.forward} forward, {choice.backward} backward ({choice.why})"


def _arrays_of_a_gpu() -> type:
    from minivlm_kernels.cuda.gpu import array_type

    return array_type()

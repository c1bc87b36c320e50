"""Which picture belongs to which text: the losses of CLIP, ALIGN and SigLIP.

N pictures and N texts give an N×N matrix of cosines. CLIP reads each row and each column as a
choice among N; SigLIP reads each cell as a yes or no. `contrast` and `contrast_sigmoid` are the
seams for GPU kernels.

Sources: Radford et al. 2021, arXiv:2103.00020, fig. 3; Zhai et al. 2023, arXiv:2303.15343.
"""

from functools import singledispatch

import numpy as np

from minivlm.device import check_together
from minivlm.ops.normalize import log_sum_exp
from minivlm.tensor import Array, Tensor, Vjp, record


def info_nce(
    image: Tensor, text: Tensor, log_scale: Tensor, positives: Array | None = None
) -> Tensor:
    """Symmetric InfoNCE: how badly each image picks its text, and each text its image.

    Args:
        image: embeddings of unit length (N, E).
        text: embeddings of unit length (M, E).
        log_scale: logarithm of the inverse temperature, ().
        positives: True where image n and text m belong together (N, M), at least one in each row
            and column; they share the target evenly. None means the diagonal, and M = N.

    Returns:
        The mean surprise a choice in nats, (); near log N while every choice is a guess.

    Raises:
        ValueError: the shapes do not fit together.

    Source: van den Oord et al. 2018, arXiv:1807.03748, eq. 4; Radford et al. 2021,
    arXiv:2103.00020, fig. 3; several positives: Khosla et al. 2020, arXiv:2004.11362, eq. 2.
    """
    _check_pairs(image, text, positives)
    nats, backward = contrast(image.data, text.data, np.exp(log_scale.data), positives)
    return record(nats, ((image, text, log_scale), backward))


@singledispatch
def contrast(
    image: Array, text: Array, scale: Array, positives: Array | None = None
) -> tuple[Array, Vjp]:
    """Symmetric InfoNCE on arrays.

    Args:
        image: embeddings of unit length (N, E).
        text: embeddings of unit length (M, E).
        scale: the inverse temperature, ().
        positives: True where image n and text m belong together (N, M), at least one in each row
            and column; they share the target evenly. None means the diagonal, and M = N.

    Returns:
        The loss (), and its vjp: dL/dloss () -> the gradients of image (N, E), text (M, E) and
        log(scale) ().
    """
    logits = image @ text.T  # (N, M)
    logits *= scale
    N, M = logits.shape
    if positives is None:
        positives = np.eye(N, dtype=bool, like=logits)
    wanted = positives.astype(logits.dtype)  # (N, M)
    to_text = wanted / wanted.sum(1, keepdims=True)  # each row is a target distribution
    to_image = wanted / wanted.sum(0, keepdims=True)  # and so is each column

    log_p = logits - log_sum_exp(logits, 1)  # image to text
    log_q = logits - log_sum_exp(logits, 0)  # text to image
    nats = -0.5 * ((to_text * log_p).sum() / N + (to_image * log_q).sum() / M)

    def contrast_backward(dy: Array) -> tuple[Array, Array, Array]:
        d_logits = (np.exp(log_p) - to_text) / N + (np.exp(log_q) - to_image) / M
        d_logits *= 0.5 * dy
        d_log_scale = (d_logits * logits).sum()  # logits = e^log_scale · cosines
        d_logits *= scale
        return d_logits @ text, d_logits.T @ image, d_log_scale

    return nats, contrast_backward


def sigmoid_pairs(
    image: Tensor, text: Tensor, log_scale: Tensor, bias: Tensor, positives: Array | None = None
) -> Tensor:
    """SigLIP's loss: for each of the N·M pairs, does the text describe the image?

    Args:
        image: embeddings of unit length (N, E).
        text: embeddings of unit length (M, E).
        log_scale: logarithm of the inverse temperature, ().
        bias: added to every logit, (); starts near −10, for most pairs do not match.
        positives: True where image n and text m belong together (N, M); None means the diagonal.

    Returns:
        Surprise in nats, summed over the texts and averaged over the images, ().

    Raises:
        ValueError: the shapes do not fit together.

    Source: Zhai et al. 2023, arXiv:2303.15343, algorithm 1.
    """
    _check_pairs(image, text, positives)
    scale = np.exp(log_scale.data)
    nats, backward = contrast_sigmoid(image.data, text.data, scale, bias.data, positives)
    return record(nats, ((image, text, log_scale, bias), backward))


@singledispatch
def contrast_sigmoid(
    image: Array, text: Array, scale: Array, bias: Array, positives: Array | None = None
) -> tuple[Array, Vjp]:
    """SigLIP's loss on arrays, and its vjp for image, text, log(scale) and bias."""
    scaled = scale * (image @ text.T)  # (N, M)
    N = len(scaled)
    if positives is None:
        positives = np.eye(N, dtype=bool, like=scaled)
    sign = np.where(positives, 1, -1).astype(scaled.dtype)  # (N, M)
    z = sign * (scaled + bias)  # (N, M)
    log_sigmoid = np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))

    def contrast_sigmoid_backward(dy: Array) -> tuple[Array, Array, Array, Array]:
        # d log σ(z) = σ(−z) dz = (1 − σ(z)) dz, which expm1 keeps exact where σ(z) is almost 1
        d_logits = sign * np.expm1(log_sigmoid) * (dy / N)
        d_log_scale = (d_logits * scaled).sum()
        d_image, d_text = scale * (d_logits @ text), scale * (d_logits.T @ image)
        return d_image, d_text, d_log_scale, d_logits.sum()

    return -log_sigmoid.sum() / N, contrast_sigmoid_backward


def _check_pairs(image: Tensor, text: Tensor, positives: Array | None) -> None:
    check_together(image=image.data, text=text.data)
    if image.ndim != 2 or text.ndim != 2 or image.shape[1] != text.shape[1]:
        raise ValueError(f"embeddings {image.shape} and {text.shape} are not (N, E) and (M, E)")
    if positives is None and len(image) != len(text):
        raise ValueError(f"{len(image)} images and {len(text)} texts need to be told who belongs")
    if positives is not None and positives.shape != (len(image), len(text)):
        raise ValueError(f"positives {positives.shape} are not {(len(image), len(text))}")

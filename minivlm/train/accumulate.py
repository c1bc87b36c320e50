"""The contrastive gradient of a large batch, in the memory of a small one, and exactly.

A contrastive loss needs all pairs at once, so averaging the gradients of small batches gives
another loss. But it needs only their embeddings: embed all without a tape, take the loss's
gradient with respect to the embeddings, then embed again, chunk by chunk, with a tape, and send
each chunk's part of that gradient back.

Source: Gao et al. 2021, arXiv:2101.06983 (GradCache).
"""

from collections.abc import Callable

import numpy as np

from minivlm.tensor import Array, Tensor, no_grad

Encoder = Callable[[Array], Tensor]


def contrastive_in_chunks(
    encode_image: Encoder,
    encode_text: Encoder,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    pixels: Array,
    ids: Array,
    chunk: int,
) -> float:
    """Leave the whole batch's gradient in the parameters; the loss.

    Args:
        encode_image: pixels (n, ...) -> embeddings (n, E).
        encode_text: ids (n, T) -> embeddings (n, E).
        loss_of: embeddings of all images and all texts -> a scalar.
        pixels: all images (N, ...).
        ids: all texts (N, T).
        chunk: how many to embed at once.

    Returns:
        The loss.

    Raises:
        ValueError: the chunk is empty.
    """
    if chunk < 1:
        raise ValueError(f"a chunk of {chunk} is empty")
    sides = ((encode_image, pixels), (encode_text, ids))
    with no_grad():  # pass 1: embeddings only
        cached = [
            np.concatenate([encode(part).data for part in _parts(inputs, chunk)])
            for encode, inputs in sides
        ]
    image, text = (Tensor(array, requires_grad=True) for array in cached)
    loss = loss_of(image, text)
    loss.backward()
    for (encode, inputs), embedding in zip(sides, (image, text), strict=True):  # pass 2
        assert embedding.grad is not None
        for part, grad in zip(_parts(inputs, chunk), _parts(embedding.grad, chunk), strict=True):
            encoded = encode(part)
            if encoded.requires_grad:  # a frozen tower has no second pass to make
                (encoded * grad).sum().backward()  # whose gradient is `grad`, by construction
    return loss.item()


def _parts(array: Array, chunk: int) -> list[Array]:
    return [array[i : i + chunk] for i in range(0, len(array), chunk)]

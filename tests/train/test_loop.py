import math

import numpy as np
import pytest

from minivlm.nn.module import freeze
from minivlm.tensor import Tensor
from minivlm.train.accumulate import contrastive_in_chunks
from minivlm.train.loop import Diverged, clip_gradients, train
from minivlm.train.optim import SGD
from tests.models.tiny import tiny_batch, tiny_clip


def bowl(value=3.0):
    x = Tensor(np.array([value, 4.0]), requires_grad=True)
    return x, SGD({"x": x}, lr=0.1, momentum=0.0), lambda batch: (x * x).sum() * batch


def test_each_batch_is_a_step_that_the_caller_asks_for():
    x, optimizer, loss = bowl()
    steps = train(loss, iter([1.0] * 5), optimizer, clip=math.inf, start=7)
    first = next(steps)
    assert (first.number, first.loss, first.grad_norm, first.factor) == (7, 25, 10, 1)
    assert first.seconds > 0
    np.testing.assert_allclose(x.data, [2.4, 3.2])
    assert [step.number for step in steps] == [8, 9, 10, 11]


def test_the_schedule_scales_the_step_and_the_clip_shortens_it():
    x, optimizer, loss = bowl()
    (step,) = train(loss, [1.0], optimizer, lambda number: 0.5, clip=1.0)
    assert (step.grad_norm, step.factor) == (10, 0.5)
    np.testing.assert_allclose(x.data, [3 - 0.05 * 0.6, 4 - 0.05 * 0.8])


def test_something_may_follow_each_step():
    x, optimizer, loss = bowl()
    seen = []
    list(train(loss, [1.0, 1.0], optimizer, after_step=lambda: seen.append(x.data[0])))
    assert len(seen) == 2
    assert seen[1] < seen[0] < 3


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_loss_that_is_no_number_stops_before_anything_moves(bad):
    x, optimizer, loss = bowl()
    with pytest.raises(Diverged, match="step 1: the gradient of x is not finite"):
        list(train(loss, [1.0, bad], optimizer))
    assert np.isfinite(x.data).all()


def test_a_loss_that_is_no_number_beside_sound_gradients_is_said():
    x, optimizer, _ = bowl()

    def forward_backward(batch):
        x.grad = np.ones(2)
        return math.nan

    with pytest.raises(Diverged, match="step 0: the loss is nan"):
        list(train(forward_backward, [1.0], optimizer))
    assert x.data.tolist() == [3, 4]


def test_the_first_bad_gradient_is_named_and_no_other():
    good, bad = (Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    optimizer = SGD({"good": good, "bad": bad}, lr=0.1)
    with pytest.raises(Diverged, match="the gradient of bad is not finite"):
        list(train(lambda b: good.sum() + (bad * b).sum(), [math.inf], optimizer))
    assert good.grad.tolist() == [1, 1]


def test_the_first_bad_weight_is_named():
    _, optimizer, loss = bowl(math.nan)
    with pytest.raises(Diverged, match="step 0: the weight x is not finite"):
        list(train(loss, [1.0], optimizer))


def test_gradients_are_clipped_together():
    a, b = (Tensor(np.zeros(2), requires_grad=True) for _ in range(2))
    a.grad, b.grad = np.array([3.0, 0.0]), np.array([0.0, 4.0])
    assert clip_gradients({"a": a, "b": b}, 10) == 5
    assert a.grad.tolist() == [3, 0]
    assert clip_gradients({"a": a, "b": b}, 1) == 5
    np.testing.assert_allclose(np.concatenate([a.grad, b.grad]), [0.6, 0, 0, 0.8])


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters().items()}


@pytest.mark.parametrize("chunk", [1, 3, 5, 7, 20])
def test_chunks_give_the_gradient_of_the_whole_batch(chunk):
    pixels, ids = tiny_batch(count=7, dtype=np.float64)
    positives = np.eye(7, dtype=bool)
    positives[0, 1] = positives[1, 0] = True
    whole = tiny_clip().astype(np.float64)
    expected = whole.loss(pixels, ids, positives)
    expected.backward()
    chunked = tiny_clip().astype(np.float64)
    loss = contrastive_in_chunks(
        chunked.encode_image,
        chunked.encode_text,
        lambda image, text: chunked.loss_of(image, text, positives),
        pixels,
        ids,
        chunk,
    )
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    for name, grad in gradients(chunked).items():
        np.testing.assert_allclose(
            grad, gradients(whole)[name], rtol=1e-10, atol=1e-12, err_msg=name
        )


def test_averaging_the_losses_of_chunks_is_another_loss():
    """What naive accumulation does, to show that the test above could fail."""
    pixels, ids = tiny_batch(count=6, dtype=np.float64)
    whole, naive = (tiny_clip().astype(np.float64) for _ in range(2))
    whole.loss(pixels, ids).backward()
    for part in (slice(0, 3), slice(3, 6)):
        (naive.loss(pixels[part], ids[part]) * 0.5).backward()
    a, b = (gradients(m)["vision.patch_weight"] for m in (whole, naive))
    assert np.linalg.norm(a - b) > 0.1 * np.linalg.norm(a)


def test_a_frozen_tower_is_embedded_once_and_gets_no_gradient():
    model = tiny_clip()
    freeze(model.vision, model.image_projection)
    contrastive_in_chunks(
        model.encode_image, model.encode_text, model.loss_of, *tiny_batch(count=4), 2
    )
    assert gradients(model)["vision.patch_weight"] is None
    assert gradients(model)["text.positions"] is not None


def test_an_empty_chunk_is_an_error():
    model = tiny_clip()
    with pytest.raises(ValueError, match="chunk of 0 is empty"):
        contrastive_in_chunks(
            model.encode_image, model.encode_text, model.loss_of, *tiny_batch(), 0
        )

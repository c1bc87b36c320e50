from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from minivlm.nn.module import freeze
from minivlm.tensor import Tensor
from minivlm.train.parallel import Replicas, even_work, one_blas_thread, parts_of
from tests.models.tiny import tiny_batch, tiny_clip


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters().items()}


def encode(model, part):
    pixels, ids = part
    return model.encode_image(pixels), model.encode_text(ids)


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_contrastive_gradient_in_parts_is_that_of_the_whole(count):
    pixels, ids = tiny_batch(count=6, dtype=np.float64)
    whole, parted = (tiny_clip().astype(np.float64) for _ in range(2))
    loss = whole.loss(pixels, ids)
    loss.backward()
    replicas = Replicas(parted, count)
    parts = [(pixels[s], ids[s]) for s in parts_of(6, count)]
    nats = replicas.contrastive(encode, parted.loss_of, parts)
    replicas.close()
    assert nats == pytest.approx(loss.item(), rel=1e-12)
    for name, grad in gradients(whole).items():
        np.testing.assert_allclose(gradients(parted)[name], grad, rtol=1e-9, atol=1e-12)


def test_the_bits_do_not_depend_on_which_thread_was_first():
    pixels, ids = tiny_batch(count=7)
    results = []
    for _ in range(5):
        model = tiny_clip()
        replicas = Replicas(model, 3)
        parts = [(pixels[s], ids[s]) for s in parts_of(7, 3)]
        replicas.contrastive(encode, model.loss_of, parts)
        replicas.close()
        results.append(gradients(model))
    for other in results[1:]:
        for name, grad in results[0].items():
            assert np.array_equal(grad, other[name]), name


def test_losses_of_parts_add_up_and_so_do_their_gradients():
    model = tiny_clip()
    replicas = Replicas(model, 2)
    batches = [tiny_batch(seed=1), tiny_batch(seed=2)]

    def half(model, batch):
        return model.loss(*batch) * 0.5

    nats = replicas.sum_of_losses(half, batches)
    expected = tiny_clip()
    mean = (expected.loss(*batches[0]) + expected.loss(*batches[1])) * 0.5
    mean.backward()
    assert nats == pytest.approx(mean.item(), rel=1e-6)
    for name, grad in gradients(expected).items():
        np.testing.assert_allclose(gradients(model)[name], grad, rtol=1e-4, atol=1e-6)
    nats = replicas.sum_of_losses(half, batches[:1])  # fewer parts than models: no old gradient
    alone = tiny_clip()
    half(alone, batches[0]).backward()
    for p in model.parameters():
        p.grad = None
    assert replicas.sum_of_losses(half, batches[:1]) == pytest.approx(nats)
    for name, grad in gradients(alone).items():
        np.testing.assert_allclose(gradients(model)[name], grad, rtol=1e-5, atol=1e-7)
    replicas.close()


def test_copies_see_what_the_model_became_and_what_is_frozen():
    model = tiny_clip()
    replicas = Replicas(model, 2)
    freeze(model.text)
    model.log_scale.data = model.log_scale.data + 1
    pixels, ids = tiny_batch(count=4)
    replicas.contrastive(encode, model.loss_of, [(pixels[:2], ids[:2]), (pixels[2:], ids[2:])])
    replicas.close()
    copy = replicas.models[1]
    assert copy.log_scale.data is model.log_scale.data
    assert all(p.grad is None for p in copy.text.parameters())
    assert all(p.grad is None for p in model.text.parameters())
    assert all(p.grad is not None for p in model.vision.parameters())


def test_a_mistake_in_a_thread_is_raised():
    replicas = Replicas(tiny_clip(), 2)

    def fail(model, part):
        raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match="part 0"):
        replicas.map(fail, [0, 1])
    replicas.close()
    with pytest.raises(ValueError, match="0 replicas"):
        Replicas(tiny_clip(), 0)


@given(st.integers(1, 40), st.integers(1, 8))
def test_parts_are_even_and_cover_everything(count, parts):
    slices = parts_of(count, parts)
    sizes = [s.stop - s.start for s in slices]
    assert [i for s in slices for i in range(s.start, s.stop)] == list(range(count))
    assert len(slices) == min(count, parts)
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.integers(1, 60), min_size=1, max_size=9), st.integers(1, 4))
def test_work_is_split_as_evenly_as_can_be(lengths, parts):
    lengths = sorted(lengths)
    slices = even_work(lengths, parts)
    assert [i for s in slices for i in range(s.start, s.stop)] == list(range(len(lengths)))
    assert 1 <= len(slices) <= parts

    def cost(bounds):
        return max((b - a) * lengths[b - 1] for a, b in pairwise(bounds))

    def best(start, left):  # by trying everything
        whole = (len(lengths) - start) * lengths[-1]
        if left == 1 or start == len(lengths) - 1:
            return whole
        tried = [
            max((end - start) * lengths[end - 1], best(end, left - 1))
            for end in range(start + 1, len(lengths))
        ]
        return min([whole, *tried])

    assert cost([0, *(s.stop for s in slices)]) == best(0, parts)


def test_inside_the_block_a_matrix_product_uses_one_thread():
    with one_blas_thread():
        inside = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert inside
    assert set(inside) == {1}


def test_a_leaf_that_is_no_parameter_is_left_alone():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    model = tiny_clip()
    replicas = Replicas(model, 2)
    replicas.sum_of_losses(lambda model, part: (x * part).sum(), [2.0])
    replicas.close()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2, 2]
    assert all(p.grad is None for p in model.parameters())

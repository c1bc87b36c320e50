"""Sampled rows against whole oracles, and judges that see what is wrong."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minivlm_kernels.benchmark import accuracy, contrastive, torch_losses
from minivlm_kernels.benchmark.accuracy import (
    Error,
    absolute,
    attention_gradient_rows,
    attention_rows,
    pair_gradient_rows,
    pair_lse_rows,
    relative,
    sampled,
)
from minivlm_kernels.benchmark.attention import Attention
from minivlm_kernels.benchmark.contrastive import SCALE, Contrastive
from minivlm_kernels.benchmark.device import CpuDevice
from tests.kernels import oracles

CPU = CpuDevice()


@given(st.integers(1, 200), st.integers(2, 70), st.integers(0, 9))
def test_a_sample_has_the_first_row_the_last_and_none_twice(length, count, seed):
    rows = sampled(np.random.default_rng(seed), length, count)
    assert len(rows) == min(length, count)
    assert rows[0] == 0
    assert rows[-1] == length - 1
    assert (np.diff(rows) > 0).all()


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(1, 5), st.booleans(), st.integers(1, 5), st.integers(0, 99))
def test_rows_of_attention_are_those_of_the_reference(T, C, causal, chunk, seed):
    rng = np.random.default_rng(seed)
    q, k, v, do = rng.standard_normal((4, T, C))
    rows = sampled(rng, T, 4)
    o, lse = oracles.attention(*(x[None, None] for x in (q, k, v)), causal=causal)
    got = attention_rows(q, k, v, causal, rows)
    np.testing.assert_allclose(got["o"], o[0, 0][rows], atol=1e-12)
    np.testing.assert_allclose(got["lse"], lse[0, 0][rows], atol=1e-12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accuracy, "CHUNK", chunk)
        got = attention_gradient_rows(q, k, v, do, causal, rows)
    expected = oracles.attention_gradients(*(x[None, None] for x in (q, k, v, do)), causal=causal)
    for name, gradient in zip(("dq", "dk", "dv"), expected, strict=True):
        np.testing.assert_allclose(got[name], gradient[0, 0][rows], atol=1e-12)


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_rows_of_pairs_are_those_of_the_reference(N, E, chunk, seed):
    rng = np.random.default_rng(seed)
    image, text = rng.standard_normal((2, N, E))
    rows = sampled(rng, N, 4)
    _, row_lse, col_lse, d_image, d_text, _ = oracles.info_nce(image, text, 3.0)
    images, texts = torch.from_numpy(image), torch.from_numpy(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accuracy, "PAIRS_CHUNK", chunk)
        lse = pair_lse_rows(image[rows], texts, 3.0)
        got_image = pair_gradient_rows(image[rows], texts, 3.0, rows, lse, col_lse)
        got_text = pair_gradient_rows(text[rows], images, 3.0, rows, col_lse[rows], row_lse)
    np.testing.assert_allclose(lse, row_lse[rows], atol=1e-12)
    np.testing.assert_allclose(got_image, d_image[rows], atol=1e-12)
    np.testing.assert_allclose(got_text, d_text[rows], atol=1e-12)


def test_an_error_is_wrong_beyond_its_tolerance_and_where_it_is_no_number():
    assert not Error(1e-3, 1e-3).wrong
    assert Error(1.1e-3, 1e-3).wrong
    assert Error(float("nan"), 1e-3).wrong
    assert relative(np.array([3.0, 4.5]), np.array([3.0, 4.0]), 1.0).value == pytest.approx(0.1)
    assert absolute(np.array([0.1, 12.0]), np.array([0.0, 10.0]), 1.0).value == pytest.approx(0.2)


def right_attention(workload):
    """Inputs, their judge, and outputs that are right."""
    inputs = workload.inputs(CPU, seed=0)
    q, k, v, do = (oracles.double(inputs.arrays[name]) for name in ("q", "k", "v", "do"))
    if workload.backward:
        outputs = oracles.attention_gradients(q, k, v, do, causal=workload.causal)
    else:
        outputs = oracles.attention(q, k, v, causal=workload.causal)
    outputs = [np.array(x, np.float32) for x in outputs]
    return workload.judge(CPU, inputs), outputs


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("backward", "output"), [(False, 0), (False, 1), *((True, i) for i in range(3))]
)
def test_the_judge_of_attention_sees_what_is_off(backward, output, causal):
    judge, outputs = right_attention(Attention(2, 3, 20, 4, "float32", causal, backward))
    assert not any(error.wrong for error in judge(tuple(outputs)).values())
    outputs[output] *= 1.0001
    name, error = list(judge(tuple(outputs)).items())[output]
    assert error.wrong, name


@pytest.mark.parametrize("backward", [False, True])
def test_the_judge_of_attention_sees_a_number_that_was_never_written(backward):
    judge, outputs = right_attention(Attention(5, 1, 30, 4, "float32", backward=backward))
    sampled_heads = [n for n in range(5) if n in sampled(np.random.default_rng(0), 5, 4)]
    (other,) = set(range(5)) - set(sampled_heads)
    outputs[0][other, 0, 7, 2] = np.nan
    assert next(iter(judge(tuple(outputs)).values())).wrong


def right_pairs(backward=True, N=90):
    workload = Contrastive(N, 6, "float32", backward)
    inputs = workload.inputs(CPU, seed=0)
    image, text = (oracles.double(inputs.arrays[name]) for name in ("image", "text"))
    outputs = oracles.info_nce(image, text, float(inputs.arrays["scale"][0]))
    outputs = [np.array(x, np.float32) for x in outputs[: 6 if backward else 3]]
    return workload.judge(CPU, inputs), outputs


@pytest.mark.parametrize("output", range(6))
def test_the_judge_of_pairs_sees_what_is_off(output):
    judge, outputs = right_pairs()
    assert not any(error.wrong for error in judge(tuple(outputs)).values())
    outputs[output] *= 1.0001
    names = [("nats",), ("row_lse",), ("col_lse",), ("d_image",), ("d_text",)]
    names.append(("d_log_scale by d_image", "d_log_scale by d_text"))
    errors = judge(tuple(outputs))
    assert all(errors[name].wrong for name in names[output])


@pytest.mark.parametrize("output", range(1, 5))
def test_the_judge_of_pairs_sees_a_number_that_was_never_written(output):
    judge, outputs = right_pairs()
    rows = sampled(np.random.default_rng(0), 90, contrastive.ROWS)
    other = next(n for n in range(90) if n not in rows)
    outputs[output][other] = np.nan
    assert any(error.wrong for error in judge(tuple(outputs)).values())


def test_the_judge_of_a_forward_pass_asks_for_no_gradients():
    judge, outputs = right_pairs(backward=False)
    assert set(judge(tuple(outputs))) == {"nats", "row_lse", "col_lse"}


@pytest.mark.parametrize("loss", [torch_losses.dense_loss, torch_losses.chunked_loss])
def test_the_losses_in_pytorch_are_the_reference(loss, monkeypatch):
    monkeypatch.setattr(torch_losses, "CHUNK", 4)
    rng = np.random.default_rng(0)
    image, text = rng.standard_normal((2, 11, 5))
    nats, row_lse, col_lse, *gradients = oracles.info_nce(image, text, 3.0)
    leaves = [torch.tensor(x, requires_grad=True) for x in (image, text, np.log(3.0))]
    got = loss(*leaves)
    np.testing.assert_allclose(got.item(), nats, rtol=1e-6)
    for ours, theirs in zip(torch.autograd.grad(got, leaves), gradients, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)
    rows, columns = torch_losses.log_sum_exps(torch.tensor(image), torch.tensor(text), 3.0)
    np.testing.assert_allclose(rows, row_lse, rtol=1e-6)
    np.testing.assert_allclose(columns, col_lse, rtol=1e-6)


def test_inputs_are_random_of_unit_length_and_another_set_by_another_seed():
    workload = Contrastive(70, 8, "float32")
    first, again, other = (workload.inputs(CPU, seed).tensors["text"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    np.testing.assert_allclose(first.norm(dim=1), 1, rtol=1e-6)
    assert workload.inputs(CPU, 0).tensors["scale"].item() == pytest.approx(SCALE)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rungs_and_pytorch_see_the_same_memory(dtype):
    inputs = Attention(1, 1, 3, 2, dtype).inputs(CPU, 0)
    array, tensor = inputs.arrays["q"], inputs.tensors["q"]
    assert str(array.dtype) == dtype
    array[0, 0, 1, 1] = 7
    assert tensor[0, 0, 1, 1] == 7
    CPU.tensor(array)[0, 0, 2, 0] = 5
    assert tensor[0, 0, 2, 0] == 5
    assert CPU.tensor(array).dtype == tensor.dtype


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("backward", [False, True])
def test_pytorch_itself_passes_the_judges(dtype, backward):
    for workload in (
        Attention(1, 2, 9, 8, dtype, causal=True, backward=backward),
        Contrastive(9, 8, "float32", backward),
    ):
        inputs = workload.inputs(CPU, 0)
        judge = workload.judge(CPU, inputs)
        ran = {"torch math", "torch flash", "torch dense", "torch chunked"}
        for contender in workload.contenders():
            if contender.name in ran:
                errors = judge(contender.prepare(inputs)())
                assert not any(error.wrong for error in errors.values()), (contender.name, errors)


def test_useful_operations_are_counted_as_the_field_does():
    forward = Attention(2, 3, 5, 7, "float32")
    assert forward.operations == 4 * 2 * 3 * 5 * 5 * 7
    assert Attention(2, 3, 5, 7, "float32", causal=True).operations == forward.operations / 2
    assert Attention(2, 3, 5, 7, "float32", backward=True).operations == 2.5 * forward.operations
    assert Contrastive(5, 7, "float32").operations == 2 * 25 * 7
    assert Contrastive(5, 7, "float32", backward=True).operations == 8 * 25 * 7

"""Each op against PyTorch: the value and every gradient, over shapes that are drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.cases import CASES
from tests.ops.test_gradients import leaves

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@given(data=st.data())
def test_value_and_gradients_agree(case, dtype, tolerance, data):
    ours = leaves(data.draw(case.shapes), dtype)
    theirs = [torch.tensor(x.data, requires_grad=True) for x in ours]
    y, expected = case.ours(*ours), case.theirs(*theirs)
    assert y.shape == tuple(expected.shape)
    close(y.data, expected, tolerance)

    weight = np.asarray(np.random.default_rng(1).standard_normal(y.shape), dtype)
    (y * weight).sum().backward()
    (expected * torch.tensor(weight)).sum().backward()
    for x, other in zip(ours, theirs, strict=True):
        close(x.grad, other.grad, tolerance)


def close(ours, theirs, tolerance):
    theirs = theirs.detach().numpy()
    largest = max(1.0, float(np.abs(theirs).max(initial=0)))
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * largest)

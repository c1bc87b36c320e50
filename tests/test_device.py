import math
import sys

import numpy as np
import pytest

from minivlm.device import device_of, to_device, to_host
from minivlm.errors import InputError
from minivlm.nn.layers import Linear
from minivlm.tensor import Tensor, record
from tests.standin import DeviceArray, HiddenCopy


def there(*shape):
    return DeviceArray(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    "copy",
    [
        lambda x: float(x.sum()),
        lambda x: math.sqrt(x.sum()),
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).all()),
        lambda x: np.asarray(x),
        lambda x: list(x),
        lambda x: x.tolist(),
        lambda x: [1, 2][x.astype(int).sum()],
    ],
)
def test_the_stand_in_catches_a_hidden_copy(copy):
    with pytest.raises(HiddenCopy):
        copy(there(3))


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + np.ones(3, np.float32),
        lambda x: np.where(np.ones(3, bool), x, x),
        lambda x: np.concatenate([x, np.ones(3, np.float32)]),
        lambda x: x[np.array([0])],
    ],
)
def test_the_stand_in_catches_a_hosts_array_in_the_mix(mix):
    with pytest.raises(TypeError, match="meets a device's"):
        mix(there(3))


def test_an_op_with_a_hidden_copy_is_caught():
    def half(x):
        return record(x.data * float(x.data.max()), (x, lambda dy: dy))

    with pytest.raises(HiddenCopy):
        half(Tensor(there(3)))


def test_arrays_made_like_one_on_the_device_are_there():
    made = np.zeros((2, 2), np.float32, like=there(1))
    assert isinstance(made, DeviceArray)
    assert isinstance(made + 1.5, DeviceArray)
    assert (made + 1.5).get().tolist() == [[1.5, 1.5], [1.5, 1.5]]


def test_the_host_is_the_cpu():
    array = np.ones(3)
    assert to_device(array, "cpu") is array
    assert to_host(array) is array
    assert to_host(there(3)).tolist() == [1, 1, 1]
    assert device_of(array) == "cpu"
    assert device_of(there(3)) == "cuda"
    assert Tensor(there(3)).numpy().tolist() == [1, 1, 1]


def test_an_unknown_device_and_a_missing_cupy_are_a_sentence_each(monkeypatch):
    with pytest.raises(InputError, match='device "tpu" is neither "cpu" nor "cuda"'):
        to_device(np.ones(3), "tpu")
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(InputError, match="needs CuPy"):
        Linear(2, 2, rng=np.random.default_rng(0)).to("cuda")

"""A stand-in for a GPU's array, for machines without one.

It answers NumPy's calls as CuPy's arrays do, by both protocols, and raises where a CuPy array
would copy itself to the host unseen, or where it would refuse to be mixed with a host's array.
"""

import numpy as np

CREATION = {"array", "asarray", "arange", "empty", "eye", "full", "ones", "tri", "zeros"}


class HiddenCopy(TypeError):
    """Something asked for the values of a device's array on the host."""


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """Wraps a NumPy array, and lets it out by `get()` alone."""

    def __init__(self, array):
        self._array = np.asarray(array)

    def get(self):
        """The values on the host: the one open way."""
        return self._array

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        target = {"out": tuple(_inside(o) for o in out)} if out else {}
        inputs = [_inside(x) for x in inputs]
        result = getattr(ufunc, method)(*inputs, **target, **_inside(options))
        return out[0] if out else _outside(result)

    def __array_function__(self, function, types, args, options):
        if function.__name__ in CREATION:  # `like=`: the one way from the host to the device
            return DeviceArray(function(*_inside(args, mixed=True), **options))
        return _outside(function(*_inside(args), **_inside(options)))

    def __getattr__(self, name):
        if name.startswith("__"):  # such as __array_interface__, another way to the host
            raise AttributeError(name)
        value = getattr(self._array, name)
        if callable(value):
            return lambda *args, **options: _outside(value(*_inside(args), **_inside(options)))
        return _outside(value)

    def __getitem__(self, index):
        return DeviceArray(self._array[_inside(index)])

    def __setitem__(self, index, value):
        self._array[_inside(index)] = _inside(value)

    def __len__(self):
        return len(self._array)

    def item(self):
        raise HiddenCopy("item() copies to the host")

    def tolist(self):
        raise HiddenCopy("tolist() copies to the host")

    def __array__(self, *args, **options):
        raise HiddenCopy("np.asarray of a device's array copies to the host")

    def __iter__(self):
        raise HiddenCopy("iterating copies to the host, element by element")

    def __bool__(self):
        raise HiddenCopy("bool() copies to the host")

    __float__ = __int__ = __index__ = __bool__


def _inside(value, mixed=False):
    """The NumPy arrays inside stand-ins; a bare one of any length is a host's, and refused."""
    if isinstance(value, DeviceArray):
        return value._array
    if isinstance(value, np.ndarray) and value.ndim and not mixed:
        raise TypeError(f"a host's array {value.shape} meets a device's")
    if isinstance(value, list | tuple):
        return type(value)(_inside(item, mixed) for item in value)
    if isinstance(value, dict):
        return {key: _inside(item, mixed) for key, item in value.items()}
    return value


def _outside(value):
    if isinstance(value, np.ndarray | np.generic):
        return DeviceArray(value)
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [DeviceArray(item) for item in value]
    return value

"""NumPy handed to the CuPy engine in CuPy's place: a check of the engine's arithmetic on any machine, not of a GPU.

Its arrays refuse what CuPy's refuse: host arrays for company, arguments that CuPy's functions do not have, and being
made a Python number unasked, for which a program would have to wait for the GPU.
"""

import contextlib
from types import SimpleNamespace

import numpy as np

from minidl import engines
from minidl.engines.cupy_engine import device


class DeviceArray(np.ndarray):
    """A NumPy array that plays one of the GPU's."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        assert method in ("__call__", "at"), f"{ufunc.__name__}.{method} is not what this engine should need"
        assert kwargs.keys() <= {"out", "dtype"}, f"CuPy's {ufunc.__name__} has no {sorted(kwargs)}"
        return wrapped(getattr(ufunc, method)(*bare(inputs), **bare(kwargs)), kwargs.get("out"))

    def __array_function__(self, function, types, args, kwargs):
        return wrapped(function(*bare(args), **bare(kwargs)), kwargs.get("out"))

    def __getitem__(self, key):
        return wrapped(self.view(np.ndarray)[bare(key)])

    def __setitem__(self, key, value):
        self.view(np.ndarray)[bare(key)] = bare(value)

    def wait(self, *_):
        raise AssertionError("to make this a Python number, a program would have to wait for the GPU")

    __float__ = __int__ = __bool__ = __index__ = __iter__ = item = tolist = wait


def refuse_host(value):
    """Anything but an array that is not on the device, at any depth."""
    if isinstance(value, np.ndarray):
        assert isinstance(value, DeviceArray), "an array of the host met one of the device"
    elif isinstance(value, tuple | list):
        for part in value:
            refuse_host(part)
    return value


def bare(value):
    """The same without the disguise."""
    if isinstance(refuse_host(value), np.ndarray):
        return value.view(np.ndarray)
    if isinstance(value, dict):
        return {name: bare(part) for name, part in value.items()}
    return type(value)(bare(part) for part in value) if isinstance(value, tuple | list) else value


def wrapped(result, out=None):
    """A result as an array of the device; of no dimensions where NumPy makes a scalar of it."""
    if out is not None:
        return out[0] if isinstance(out, tuple) else out
    return result.view(DeviceArray) if isinstance(result, np.ndarray) else np.asarray(result).view(DeviceArray)


class NumpyInCupysPlace:
    """What the engine asks of the module ``cupy``."""

    cuda = SimpleNamespace(get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None))

    def __getattr__(self, name):
        return getattr(np, name)

    def asarray(self, array):
        assert type(array) is np.ndarray, f"not an array of the host: {type(array)}"
        return array.copy().view(DeviceArray)

    def asnumpy(self, array):
        assert type(array) is DeviceArray, f"not an array of the device: {type(array)}"
        return np.array(array.view(np.ndarray))

    def zeros(self, shape):
        return np.zeros(shape).view(DeviceArray)

    def arange(self, *arguments, dtype):
        return np.arange(*arguments, dtype=dtype).view(DeviceArray)


@contextlib.contextmanager
def engine():
    """The CuPy engine on NumPy's arrays, which ``get_engine("cupy")`` also returns as long as the context lasts."""
    xp, loaded = vars(device.xp), engines._loaded.pop("cupy", None)
    before = dict(xp)
    xp.clear()
    xp["module"] = NumpyInCupysPlace()
    engines._loaded["cupy"] = engines.Engine("cupy")
    try:
        yield engines._loaded["cupy"]
    finally:
        xp.clear()
        xp.update(before)
        del engines._loaded["cupy"]
        if loaded is not None:
            engines._loaded["cupy"] = loaded

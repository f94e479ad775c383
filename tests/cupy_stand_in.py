"""In the place of CuPy, where there is no GPU: arrays that lie on a device as far as the rest of the program can tell.

They are numpy's inside, so that results and allocations are numpy's. But like CuPy's they become numpy arrays by `get`
alone, mix with no numpy array, are 0-dimensional where numpy gives numbers, and know only functions that CuPy has. What
runs on them calls no numpy function and starts no numba kernel on device arrays, whichever numpy promotes its scalars.
"""
import sys
import types

import numpy as np
from scipy import fft

# of those that the engines call, what CuPy has under the same name and with the same arguments
FUNCTIONS = ("abs", "arange", "ascontiguousarray", "bincount", "empty", "empty_like", "full", "full_like", "isfinite",
             "log", "maximum", "minimum", "ones", "ones_like", "rint", "sign", "sqrt", "vdot", "where", "zeros",
             "zeros_like")
METHODS = ("all", "any", "astype", "conj", "copy", "max", "mean", "min", "ravel", "reshape", "sum")
TRANSFORMS = ("rfftn", "irfftn", "fftfreq", "rfftfreq", "fftshift", "ifftshift")
DTYPES = ("float32", "float64", "complex64", "int32")
HOST_VALUES = (bool, int, float, complex, np.generic, np.dtype, type, str, slice, type(None), type(Ellipsis))


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """As cupy.ndarray."""

    def __init__(self, held):
        self._held = held

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_function__(self, function, kinds, args, kwargs):
        raise TypeError(f"numpy.{function.__name__} was called on a device array")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        """The operators; and numpy's ufuncs, which CuPy's arrays pass on to CuPy's."""
        if method != "__call__":
            raise TypeError(f"numpy.{ufunc.__name__}.{method} was called on a device array")
        # numpy 2 and CuPy 14 let such a scalar make double precision of the array
        if any(type(one) is np.float64 for one in inputs) and any(
                getattr(one, "dtype", None) == np.float32 for one in inputs):
            raise TypeError(f"{ufunc.__name__} of a float32 array and a float64 scalar")
        if out is not None:
            kwargs["out"] = tuple(map(_held, out))
        return _given(ufunc(*map(_held, inputs), **kwargs))

    def __getattr__(self, name):
        if name in ("shape", "dtype", "size", "ndim", "nbytes"):
            return getattr(self._held, name)
        if name in ("real", "imag"):
            return DeviceArray(getattr(self._held, name))
        if name in METHODS:
            return _on_device(getattr(self._held, name))
        raise AttributeError(f"a device array has no {name}")

    def __getitem__(self, index):
        return _given(self._held[_held(index)])

    def __setitem__(self, index, value):
        self._held[_held(index)] = _held(value)

    def __len__(self):
        return len(self._held)

    def __float__(self):
        return float(self._held)

    def __int__(self):
        return int(self._held)

    def __bool__(self):
        return bool(self._held)

    def get(self):
        return self._held.copy()


def stand_in(monkeypatch, free_gb: float = 16.0):
    """A module that is imported as `cupy` until the test ends; free_gb : of the memory of its GPU."""
    module = types.ModuleType("cupy")
    module.ndarray = DeviceArray
    module.get_array_module = lambda *arrays: module if any(isinstance(one, DeviceArray) for one in arrays) else np
    module.asarray = lambda array, dtype=None: DeviceArray(np.array(getattr(array, "_held", array), dtype))
    for name in FUNCTIONS:
        setattr(module, name, _on_device(getattr(np, name)))
    for name in DTYPES:
        setattr(module, name, getattr(np, name))
    # scipy's keep single precision, as CuPy's do
    module.fft = types.SimpleNamespace(**{name: _on_device(getattr(fft, name)) for name in TRANSFORMS})
    module.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(
        memGetInfo=lambda: (int(1e9 * free_gb), int(16e9))))
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def _on_device(function):
    def call(*args, **kwargs):
        return _given(function(*map(_held, args), **{name: _held(value) for name, value in kwargs.items()}))
    return call


def _held(value):
    """The numpy value of what a device function may be given; TypeError for an array that is not on the device."""
    if isinstance(value, DeviceArray):
        return value._held
    if isinstance(value, (tuple, list)):
        return type(value)(map(_held, value))
    if isinstance(value, HOST_VALUES):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _given(value):
    return DeviceArray(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value

"""In the place of CuPy, where there is no GPU: arrays that lie on a device as far as the rest of the program can tell.

They are numpy's inside, so that results and allocations are numpy's; but like CuPy's they become numpy arrays by `get`
alone, mix with no numpy array, give 0-dimensional arrays where numpy gives numbers, and know only functions that CuPy
has. What runs on them makes no numpy call and starts no numba kernel on device arrays.
"""
import sys
import types

import numpy as np

# of those that the engines call, what CuPy has under the same name and with the same arguments
FUNCTIONS = ("abs", "arange", "asarray", "ascontiguousarray", "bincount", "empty", "empty_like", "full", "full_like",
             "isfinite", "log", "maximum", "minimum", "ones", "ones_like", "rint", "sign", "sqrt", "vdot", "where",
             "zeros", "zeros_like")
SCALARS = (bool, int, float, complex, np.generic, type(None), str, type, np.dtype, slice, type(Ellipsis))


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """As cupy.ndarray; `_held` is the numpy array that it really is."""

    __array_priority__ = 100

    def __init__(self, held):
        self._held = held

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_function__(self, function, types_, args, kwargs):
        raise TypeError(f"numpy.{function.__name__} was called on a device array")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        # the operators come here, and np.sqrt(device array), which CuPy's arrays would pass on to cupy.sqrt
        if method != "__call__":
            raise TypeError(f"numpy.{ufunc.__name__}.{method} was called on a device array")
        if out is not None:
            kwargs["out"] = tuple(_held(one) for one in out)
        return _given(getattr(ufunc, method)(*(_held(one) for one in inputs), **kwargs))

    def __getattr__(self, name):
        if name in ("shape", "dtype", "size", "ndim", "nbytes", "flags"):
            return getattr(self._held, name)
        if name in ("real", "imag", "T"):
            return DeviceArray(getattr(self._held, name))
        if name in ("all", "any", "argmax", "astype", "conj", "copy", "max", "mean", "min", "ravel", "reshape", "sum"):
            return _of_device(getattr(self._held, name))
        raise AttributeError(f"a device array has no {name}")

    def __getitem__(self, index):
        return DeviceArray(np.asarray(self._held[_held(index)]))

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


def stand_in(monkeypatch):
    """Put it into sys.modules as `cupy` until the test ends; returns it."""
    module = types.ModuleType("cupy")
    module.ndarray = DeviceArray
    module.get_array_module = lambda *arrays: module if any(isinstance(a, DeviceArray) for a in arrays) else np
    for name in FUNCTIONS:
        setattr(module, name, _of_device(getattr(np, name), uploads=name == "asarray"))
    for name in ("float32", "float64", "complex64", "int32", "newaxis", "inf", "nan"):
        setattr(module, name, getattr(np, name))
    module.fft = types.SimpleNamespace(**{name: _of_device(_single(getattr(np.fft, name))) for name in (
        "rfftn", "irfftn", "fftfreq", "rfftfreq", "fftshift", "ifftshift")})
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def _of_device(function, uploads=False):
    def call(*args, **kwargs):
        if not uploads:
            args, kwargs = tuple(map(_held, args)), {name: _held(value) for name, value in kwargs.items()}
        else:
            args = tuple(one._held if isinstance(one, DeviceArray) else one for one in args)
        return _given(function(*args, **kwargs))
    return call


def _single(function):
    """A transform that keeps single precision, as CuPy's and scipy's do."""
    from scipy import fft
    return getattr(fft, function.__name__)


def _held(value):
    """The numpy value of what a device function may be given; TypeError for a numpy array."""
    if isinstance(value, DeviceArray):
        return value._held
    if isinstance(value, (tuple, list)):
        return type(value)(_held(one) for one in value)
    if isinstance(value, SCALARS) or callable(value):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _given(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return DeviceArray(np.asarray(value))
    return value

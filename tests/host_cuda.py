"""CuPy and a GPU without either: numpy arrays that refuse what CuPy's refuse, and CUDA kernels run thread by thread.

`install` puts a module in the place of CuPy. Its arrays mix with numpy's no more than CuPy's do: what would fail on a
GPU for an array that was left on the host, or be copied in silence, fails here. It has the functions that CuPy 13 and
14 both have (FUNCTIONS), and RawKernel builds the kernel's source with a C++ compiler (data/cuda_on_host.hpp).
"""
import ctypes
import functools
import operator
import re
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.fft

HEADER = Path(__file__).parent / "data" / "cuda_on_host.hpp"
SCALARS = {"int": np.int32, "long long": np.int64, "float": np.float32, "double": np.float64}
ELEMENTS = {"float2": np.complex64, "float": np.float32, "double": np.float64, "int": np.int32, "long long": np.int64,
            "unsigned long long": np.uint64}
C_TYPES = {np.int32: ctypes.c_int, np.int64: ctypes.c_longlong, np.float32: ctypes.c_float, np.float64: ctypes.c_double}
KERNEL = re.compile(r'extern "C" __global__ void (\w+)\((.*?)\)', re.S)

# ---- arrays
FUNCTIONS = set("""abs add all angle any arange arctan2 argmax argmin argsort bincount broadcast_to ceil clip
    concatenate conj copy cos count_nonzero cumsum diff divmod einsum empty empty_like equal exp flatnonzero flip floor
    full full_like hypot imag interp isfinite linspace log logical_and logical_not matmul maximum mean meshgrid min max
    minimum mod moveaxis nonzero ones ones_like outer prod quantile ravel real repeat reshape rint roll searchsorted
    sign sin sinc sort sqrt square squeeze stack sum swapaxes take tensordot tile transpose vdot where zeros zeros_like
    """.split())
CONSTANTS = set("""bool_ int8 int32 int64 uint8 uint64 float32 float64 complex64 complex128 float16 newaxis pi
    inf""".split())
METHODS = set("""all any argmax argmin argsort astype clip conj copy cumsum fill max mean min nonzero prod ravel
    reshape sort squeeze std sum swapaxes take transpose view""".split())


class Array:
    """A numpy array that only this module's functions, plain numbers and its own kind may touch."""

    # numpy's own functions and operators then refuse it
    __array_ufunc__ = None

    def __init__(self, held):
        self.held = held

    def __array__(self, *_, **__):
        raise TypeError("implicit conversion of a GPU array to numpy; use to_host")

    def get(self):
        return self.held.copy()

    @property
    def device(self):
        return types.SimpleNamespace(id=0)

    shape, dtype, size, ndim, nbytes, flags = (property(lambda self, name=name: getattr(self.held, name)) for name in (
        "shape", "dtype", "size", "ndim", "nbytes", "flags"))
    T = property(lambda self: Array(self.held.T))
    real = property(lambda self: Array(self.held.real),
                    lambda self, value: self.held.real.__setitem__(..., unwrapped(value)))
    imag = property(lambda self: Array(self.held.imag),
                    lambda self, value: self.held.imag.__setitem__(..., unwrapped(value)))

    def __getattr__(self, name):
        if name not in METHODS:
            raise AttributeError(f"the stand-in for a CuPy array has no {name}")
        return called(getattr(self.held, name))

    def __len__(self):
        return len(self.held)

    def __iter__(self):
        return (Array(np.asarray(part)) for part in self.held)

    def __getitem__(self, key):
        return wrapped(self.held[unwrapped(key)])

    def __setitem__(self, key, value):
        self.held[unwrapped(key)] = unwrapped(value)

    def __repr__(self):
        return f"Array({self.held!r})"


def _operators():
    both = "add sub mul truediv floordiv mod pow matmul and or xor lt le gt ge eq ne".split()
    for name in both:
        function = getattr(operator, name + "_" if name in ("and", "or") else name)
        setattr(Array, f"__{name}__", lambda a, b, f=function: wrapped(f(a.held, beside(a, b))))
        setattr(Array, f"__r{name}__", lambda a, b, f=function: wrapped(f(beside(a, b), a.held)))
    for name in ("add", "sub", "mul", "truediv", "and", "or"):
        function = getattr(operator, "i" + name)
        setattr(Array, f"__i{name}__", lambda a, b, f=function: Array(f(a.held, unwrapped(b))))
    for function in (operator.neg, operator.invert, operator.abs):
        setattr(Array, f"__{function.__name__}__", lambda a, f=function: wrapped(f(a.held)))
    for name, kind in (("bool", bool), ("int", int), ("float", float), ("complex", complex), ("index", operator.index)):
        setattr(Array, f"__{name}__", lambda a, kind=kind: kind(a.held))


_operators()


def unwrapped(value):
    """numpy's view of arguments; an array of the host among them is an error, as it is on a GPU."""
    if isinstance(value, Array):
        return value.held
    if isinstance(value, (tuple, list)):
        return type(value)(unwrapped(part) for part in value)
    if isinstance(value, np.ndarray):
        raise TypeError(f"a numpy array of shape {value.shape} meets GPU arrays; move it with xp.asarray")
    return value


def beside(array, value):
    """What an operator finds beside an array; numpy 2 and CuPy 14 let a float64 scalar make it double precision."""
    if type(value) is np.float64 and array.dtype in (np.float32, np.complex64):
        raise TypeError(f"a float64 scalar meets an array of {array.dtype}; make it a float")
    return unwrapped(value)


def wrapped(value):
    """Arrays for numpy's; a single number is one without axes, as CuPy has it."""
    if isinstance(value, (np.ndarray, np.generic)):
        return Array(np.asarray(value))
    if isinstance(value, tuple):
        return tuple(wrapped(part) for part in value)
    return [wrapped(part) for part in value] if isinstance(value, list) else value


def called(function):
    @functools.wraps(function)
    def inner(*arguments, **options):
        return wrapped(function(*unwrapped(arguments), **{name: unwrapped(value) for name, value in options.items()}))

    return inner


# ---- kernels
@functools.lru_cache(maxsize=None)
def library(source: str):
    """The kernels of a CUDA source, each as host_NAME(order, blocks, threads, …)."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler (g++ or clang++) is on the PATH")
    launchers = []
    for name, signature in KERNEL.findall(source):
        arguments = "".join(", " + re.search(r"\w+$", part.strip()).group(0) for part in signature.split(","))
        launchers.append(f'extern "C" void host_{name}(const long long *order, unsigned blocks, unsigned threads, '
                         f"{signature}) {{\n    launch({name}, order, blocks, threads{arguments});\n}}\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cpp"
        path.write_text("\n".join([HEADER.read_text(encoding="utf-8"), source, *launchers]), encoding="utf-8")
        built = Path(folder) / "kernels.so"
        # no contraction: rounding as the source has it
        done = subprocess.run([compiler, "-std=c++11", "-O2", "-Wall", "-Wno-unknown-pragmas", "-Wno-unused-function",
                               "-Werror", "-ffp-contract=off", "-shared", "-fPIC", "-o", built, path],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        # with the interpreter's lock held: the kernels' thread numbers are global, and "several GPUs" are threads
        return ctypes.PyDLL(str(built))


class RawKernel:
    """In the place of cupy.RawKernel: checks the arguments against the kernel's C signature, then runs every thread.

    shuffle : seed of the order of the threads, None for their own
    """

    shuffle = None

    def __init__(self, source, name):
        signature = dict(KERNEL.findall(source))[name]
        self.types = [" ".join(re.sub(r"\bconst\b|\w+$", "", part.strip()).split()) for part in signature.split(",")]
        self.run = getattr(library(source), "host_" + name)

    def __call__(self, grid, block, arguments):
        assert len(arguments) == len(self.types)
        count = grid[0] * block[0]
        order = np.arange(count) if self.shuffle is None else np.random.default_rng(self.shuffle).permutation(count)
        passed = [self._convert(kind, value) for kind, value in zip(self.types, arguments)]
        self.run(ctypes.c_void_p(order.ctypes.data), ctypes.c_uint(grid[0]), ctypes.c_uint(block[0]), *passed)

    @staticmethod
    def _convert(kind, value):
        if kind.endswith("*"):
            assert isinstance(value, Array), f"{type(value)} for {kind}"
            assert value.dtype == ELEMENTS[kind[:-1].strip()] and value.flags.c_contiguous, f"{value.dtype} for {kind}"
            return ctypes.c_void_p(value.held.ctypes.data)
        assert type(value) is SCALARS[kind], f"{value!r} for {kind}"
        return C_TYPES[SCALARS[kind]](value)


# ---- the module
class _Functions(types.ModuleType):
    def __getattr__(self, name):
        if name in CONSTANTS:
            return getattr(np, name)
        if name in FUNCTIONS:
            return called(getattr(np, name))
        raise AttributeError(f"the stand-in for CuPy has no {name}")


class _Device:
    def __init__(self, number):
        assert number == 0

    def use(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def stand_in(memory_gb: float = 2.0, gpus: int = 1) -> types.ModuleType:
    """The module; memory_gb : of the GPU that it speaks of; gpus : how many it speaks of, all of them one."""
    def as_array(value, dtype=None, order=None, copy=True):
        held = value.held if isinstance(value, Array) else np.array(value, dtype)
        return Array(np.asarray(held, dtype, order))

    module = _Functions("cupy")
    module.ndarray, module.RawKernel, module.__version__ = Array, RawKernel, "stand-in"
    module.asarray = module.array = as_array
    module.ascontiguousarray = functools.partial(as_array, order="C")
    module.get_array_module = lambda *arrays: module if any(isinstance(one, Array) for one in arrays) else np
    # single precision stays single, as CuPy has it
    module.fft = types.SimpleNamespace(**{name: called(getattr(scipy.fft, name)) for name in (
        "rfft", "irfft", "fft", "ifft", "rfftn", "irfftn", "rfft2", "irfft2", "fftshift", "ifftshift", "fftfreq",
        "rfftfreq")})
    runtime = types.SimpleNamespace(
        getDevice=lambda: 0, getDeviceCount=lambda: gpus, CUDARuntimeError=RuntimeError,
        getDeviceProperties=lambda number: {"name": b"a stand-in on the host"},
        memGetInfo=lambda: (int(memory_gb * 1e9), int(memory_gb * 1e9)))
    stream = types.SimpleNamespace(synchronize=lambda: None)
    module.cuda = types.SimpleNamespace(runtime=runtime, Device=_Device, get_current_stream=lambda: stream)
    module.get_default_memory_pool = lambda: types.SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=lambda: None)
    return module


def install(monkeypatch, **options):
    """Put the stand-in where `import cupy` finds it, until the test ends; returns it."""
    module = stand_in(**options)
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module

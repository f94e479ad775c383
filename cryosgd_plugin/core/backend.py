"""Which array library and which device: chosen once, by name, and never silently changed."""
from __future__ import annotations

from contextlib import nullcontext

import numpy as np

from .errors import InputError


def array_module(array):
    """numpy or cupy, whichever made `array`."""
    if isinstance(array, np.ndarray) or np.isscalar(array):
        return np
    import cupy
    return cupy.get_array_module(array)


def to_host(array):
    """The array as numpy, copied from the GPU where it lies there."""
    return array if isinstance(array, np.ndarray) else array.get()


def to_current_device(array, xp):
    """The array in library xp on the GPU that is current: itself, or a copy where it lies on another device."""
    if xp is np:
        return to_host(array)
    if isinstance(array, np.ndarray) or array.device.id != xp.cuda.runtime.getDevice():
        return xp.asarray(to_host(array))
    return array


def gpu_report():
    """(usable, sentence): whether CuPy finds a GPU, and in words why not."""
    try:
        import cupy
    except ImportError as error:
        return False, (f"CuPy can't be imported ({error}); install the plugin with the extra [cuda12] or [cuda13] "
                       "that matches your driver")
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return False, f"CuPy {cupy.__version__} is installed but finds no usable GPU ({error}); check nvidia-smi"
    if count == 0:
        return False, f"CuPy {cupy.__version__} is installed but this machine shows no GPU; check nvidia-smi"
    names = [cupy.cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(count)]
    return True, f"CuPy {cupy.__version__} sees {count} GPU(s): {', '.join(names)}"


def parse_device(device: str):
    """`cpu` → ("cpu", ()); `cuda` → ("cuda", (0,)); `cuda:0,1` → ("cuda", (0, 1)).

    Raises InputError for other text, and where a GPU is asked for that is not there.
    """
    text = device.strip().lower()
    if text == "cpu":
        return "cpu", ()
    kind, _, numbers = text.partition(":")
    try:
        ids = tuple(int(part) for part in numbers.split(",")) if numbers else (0,)
    except ValueError:
        ids = None
    if kind != "cuda" or ids is None:
        raise InputError(f"device '{device}' is not understood; give cpu, cuda, cuda:0 or cuda:0,1")
    if len(set(ids)) < len(ids):
        raise InputError(f"device '{device}' names a GPU twice; name each once")
    usable, reason = gpu_report()
    if not usable:
        raise InputError(f"device '{device}' was asked for, but no GPU can be used: {reason}; or run with --device cpu")
    import cupy
    count = cupy.cuda.runtime.getDeviceCount()
    absent = [i for i in ids if i >= count]
    if absent:
        raise InputError(f"device '{device}' names GPU {absent[0]}, but this machine has {count} (0 to {count - 1})")
    return "cuda", ids


def get_array_module(device: str):
    """The array library for a device string: numpy, or cupy with the first named GPU made current."""
    kind, ids = parse_device(device)
    if kind == "cpu":
        return np
    import cupy
    cupy.cuda.Device(ids[0]).use()
    return cupy


def on_device(number):
    """A context in which new arrays lie on GPU `number`, for this thread; one that changes nothing where it is None."""
    if number is None:
        return nullcontext()
    import cupy
    return cupy.cuda.Device(number)


def gpu_memory(xp) -> float:
    """Bytes of the current GPU that arrays of this process may still take, what its pool keeps for reuse among them."""
    return float(xp.cuda.runtime.memGetInfo()[0] + xp.get_default_memory_pool().free_bytes())

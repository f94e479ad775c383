"""Launching the kernels of the .cu files beside this one: what they need of CuPy 13 and 14."""
from __future__ import annotations

from functools import lru_cache
from pathlib import Path

THREADS = 256
# each thread strides over what lies beyond: a grid's first side may hold no more than 2³¹ − 1 blocks
MAX_BLOCKS = 1 << 20


def launch(sources: tuple, name: str, n_threads: int, *arguments) -> None:
    """Run kernel `name` of some .cu files, which are compiled as one, on the current GPU.

    arguments : CuPy arrays, C-contiguous, and numpy scalars of the very types that the kernel declares
    """
    if n_threads:
        import cupy
        blocks = min(-(-n_threads // THREADS), MAX_BLOCKS)
        _kernel(cupy, sources, name, cupy.cuda.runtime.getDevice())((blocks,), (THREADS,), arguments)


def source_of(sources: tuple) -> str:
    """The text of some .cu files, one after the other; what is not ASCII stands in comments, and is left out."""
    texts = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in sources)
    return "\n".join(texts).encode("ascii", "replace").decode("ascii")


@lru_cache(maxsize=None)
def _kernel(cupy, sources, name, device):
    """A kernel, compiled once for each device."""
    return cupy.RawKernel(source_of(sources), name)

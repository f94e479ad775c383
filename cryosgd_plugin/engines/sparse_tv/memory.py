"""How much memory the solver takes at its fullest moment, a step of its iteration, from the arrays that it holds."""
from __future__ import annotations

from ...core.errors import InputError

# float32 maps: of the data, limits, weights and scale of the step, first, previous, last and next two maps, slope
MAPS = 10
# half transforms: complex of the data's pull, of that with γ, of the step; float32 of N, P, and their sum with γ
COMPLEX_HALVES, FLOAT_HALVES = 3, 3
# on a GPU array operations leave more maps, and cuFFT takes a copy of what it transforms and room to work in
GPU_MAPS, FFT_HALVES = 3, 3


def solver_memory_gb(box: int, on_gpu: bool = False) -> float:
    """GB of `sparse_tv_map` for a map of box³, its data among them."""
    half = box ** 2 * (box // 2 + 1)
    halves = 8.0 * (COMPLEX_HALVES + FFT_HALVES * on_gpu) + 4.0 * FLOAT_HALVES
    return (4.0 * (MAPS + GPU_MAPS * on_gpu) * box ** 3 + halves * half) / 1e9


def check_gpu_memory(box: int, xp) -> None:
    """Raise InputError where the current GPU has less free memory than a map of box³ takes; xp : cupy."""
    needed, free = solver_memory_gb(box, on_gpu=True), xp.cuda.runtime.memGetInfo()[0] / 1e9
    if needed > free:
        raise InputError(f"a sparse and smooth map of {box} px takes about {needed:.1f} GB of a GPU, and {free:.1f} GB "
                         "of this one are free; end what else runs there, or give --device cpu")

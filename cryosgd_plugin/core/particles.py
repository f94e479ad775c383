"""The particle table: what is known of each particle, as arrays, whatever file or database it came from."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Optional

import numpy as np

from .errors import InputError


@dataclass(frozen=True)
class OpticsGroup:
    """Optics shared by many particles.

    voltage_kv in kV, cs_mm in mm, amplitude_contrast a fraction, pixel_size in Å/px, box_size in px.
    Higher-order terms as RELION stores them: beam_tilt_mrad (x, y), odd_zernike and even_zernike coefficient
    tuples (rad), magnification 2 × 2 (image coordinates); None where absent.
    `extra` keeps unknown columns of the optics table as text, tag → value.
    """

    name: str
    voltage_kv: float
    cs_mm: float
    amplitude_contrast: float
    pixel_size: float
    box_size: int
    beam_tilt_mrad: Optional[tuple] = None
    odd_zernike: Optional[tuple] = None
    even_zernike: Optional[tuple] = None
    magnification: Optional[tuple] = None
    extra: dict = field(default_factory=dict)


@dataclass
class ParticleTable:
    """n particles as columns.

    stack_paths : list of absolute paths; stack_id (n,) int32 indexes it
    stack_index : (n,) int64, 0-based slice in its stack
    optics : list of OpticsGroup; optics_id (n,) int32 indexes it
    defocus_u, defocus_v : (n,) float64 Å; defocus_angle_deg, phase_shift_deg : (n,) float64
    ctf_bfactor : (n,) float64 Å²; ctf_scale : (n,) float64
    rotations : (n, 3, 3) float64 or None, A of CONVENTIONS.md; shifts_a : (n, 2) float64 Å or None
    half_set : (n,) int8, 1 or 2, or None
    class_id : (n,) int32, 1-based, or None
    ids : (n,) int64, the caller's own identity of each particle (row number for a STAR file, Scipion objId)
    has_ctf : whether the source carried defocus values
    extra : tag → (n,) array of text ('S') or numbers; columns not understood, carried to the output
    carried : what the file held beside the particles (order of its columns, other blocks); only io reads it
    """

    stack_paths: list
    stack_id: np.ndarray
    stack_index: np.ndarray
    optics: list
    optics_id: np.ndarray
    defocus_u: np.ndarray
    defocus_v: np.ndarray
    defocus_angle_deg: np.ndarray
    phase_shift_deg: np.ndarray
    ctf_bfactor: np.ndarray
    ctf_scale: np.ndarray
    ids: np.ndarray
    has_ctf: bool = True
    rotations: Optional[np.ndarray] = None
    shifts_a: Optional[np.ndarray] = None
    half_set: Optional[np.ndarray] = None
    class_id: Optional[np.ndarray] = None
    extra: dict = field(default_factory=dict)
    carried: dict = field(default_factory=dict)

    def __post_init__(self):
        n = len(self.stack_index)
        for name, column in self._columns():
            if len(column) != n:
                raise InputError(f"column {name} has {len(column)} rows where the table has {n}; "
                                 "write the particle file again")

    def __len__(self):
        return len(self.stack_index)

    @property
    def image_id(self) -> np.ndarray:
        """(n,) int64, one number for each image: that of rows which show the same is the same."""
        return self.stack_id.astype(np.int64) * (int(self.stack_index.max(initial=0)) + 1) + self.stack_index

    def _columns(self):
        for name, value in vars(self).items():
            if name in ("stack_paths", "optics", "has_ctf", "extra", "carried") or value is None:
                continue
            yield name, value
        for tag, value in self.extra.items():
            yield tag, value

    def take(self, rows) -> "ParticleTable":
        """The table of the given rows (indices or a boolean mask), in that order."""
        picked = {name: value[rows] for name, value in self._columns() if name not in self.extra}
        return replace(self, **picked, extra={tag: value[rows] for tag, value in self.extra.items()})

    @property
    def pixel_size(self) -> float:
        """Å/px of the first optics group (the engines resample all others to it)."""
        return self.optics[0].pixel_size

    @property
    def box_size(self) -> int:
        """Box in px of the first optics group."""
        return self.optics[0].box_size

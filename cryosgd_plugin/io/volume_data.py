"""A volume as a viewer needs it: opened lazily, looked through once, and a small copy for the surface."""
from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cached_property

import mrcfile
import numpy as np

from ..core.errors import InputError

MRC_ENDINGS = (".mrc", ".map", ".ccp4", ".rec", ".mrcs", ".st")
COARSE_BOX = 128          # px; the surface is drawn from a copy no larger than this
HISTOGRAM_VOXELS = 16e6   # beyond this the histogram takes every n-th section
SLAB_BYTES = 64e6
AXES = ("z", "y", "x")


@dataclass(frozen=True)
class Survey:
    """What one pass over the voxels tells.

    mean, sigma, minimum, maximum : of the finite voxels, in the file's density unit; sigma is the standard deviation
    non_finite : number of NaN or infinite voxels
    projections : {axis: 2-D mean along that axis}; "z" (y, x), "y" (z, x), "x" (z, y)
    coarse : (z, y, x) float32, block averages over `factor`³ voxels
    counts, edges : histogram of the densities; every `section_step`-th section was counted
    """

    mean: float
    sigma: float
    minimum: float
    maximum: float
    non_finite: int
    projections: dict
    coarse: np.ndarray
    factor: int
    counts: np.ndarray
    edges: np.ndarray
    section_step: int

    def quantile(self, share):
        """The density below which this share of the voxels lies (to the width of a histogram bin)."""
        cumulative = np.cumsum(self.counts) / max(1, self.counts.sum())
        return float(self.edges[min(int(np.searchsorted(cumulative, share)) + 1, len(self.edges) - 1)])

    def in_sigma(self, density):
        """A density as multiples of sigma above the mean; 0 where the map is constant."""
        return (density - self.mean) / self.sigma if self.sigma else 0.0

    def from_sigma(self, multiple):
        """The inverse of `in_sigma`."""
        return self.mean + multiple * self.sigma


class VolumeData:
    """One volume, axes [z, y, x], with its voxel size; voxels are read when they are asked for.

    voxels : (z, y, x) array or memory map; voxel_size_a : (3,) Å along z, y, x
    label : what to call it in a title; path : file or None; note : a sentence on something odd, or ""
    """

    def __init__(self, voxels, voxel_size_a, label="volume", path=None, note=""):
        voxel_size_a = np.broadcast_to(np.asarray(voxel_size_a, float), 3)
        if voxels.ndim != 3 or min(voxels.shape) < 2:
            raise InputError(f"{label} has the shape {voxels.shape}; a volume of three axes is needed")
        if not (np.isfinite(voxel_size_a).all() and (voxel_size_a > 0).all()):
            raise InputError(f"{label} has the voxel size {tuple(voxel_size_a)} Å; set the pixel size in its header "
                             "or the sampling rate in Scipion")
        self.voxels, self.voxel_size_a, self.label, self.path, self.note = voxels, voxel_size_a, label, path, note

    @property
    def shape(self):
        return self.voxels.shape

    @property
    def centre(self):
        """The origin voxel (z, y, x): n // 2."""
        return tuple(n // 2 for n in self.shape)

    def position_a(self, axis, index):
        """Å from the origin of a (fractional) voxel index along axis 0, 1, 2 = z, y, x."""
        return (index - self.shape[axis] // 2) * self.voxel_size_a[axis]

    def extent_a(self, axis):
        """(low, high) Å edges of the box along an axis: half a voxel outside the first and last voxel centres."""
        return self.position_a(axis, -0.5), self.position_a(axis, self.shape[axis] - 0.5)

    def plane(self, axis, index, thickness=1):
        """Mean of `thickness` sections about `index` along an axis, as float32 with the other two axes in order."""
        low = min(max(0, index - (thickness - 1) // 2), self.shape[axis] - 1)
        section = np.take(self.voxels, range(low, min(low + thickness, self.shape[axis])), axis=axis)
        return section.astype(np.float32).mean(axis=axis)

    @cached_property
    def survey(self) -> Survey:
        """Statistics, projections, histogram and coarse copy.

        Raises InputError where no voxel is finite.
        """
        return _survey(self.voxels, self.label)


def open_volume(path, pixel_size=None, label=None, index=None) -> VolumeData:
    """Open an MRC/CCP4 file without reading its voxels (compressed files are read whole).

    path : file; a trailing ":mrc" as Scipion writes it is dropped
    pixel_size : Å/px that overrides the header, or None; index : 1-based volume of a volume stack, or None
    Raises InputError for a missing file, another format, a truncated file or a file of images.
    """
    path = str(path)
    path = path[:-4] if path.endswith(":mrc") else path
    label = label or os.path.basename(path)
    plain = path[:-3] if path.endswith(".gz") else path[:-4] if path.endswith(".bz2") else path
    if not os.path.exists(path):
        raise InputError(f"{path} is not there; the job may not have written it yet, or it was moved or deleted")
    if not plain.lower().endswith(MRC_ENDINGS):
        raise InputError(f"{path} is not an MRC or CCP4 map ({', '.join(MRC_ENDINGS)}); convert it to .mrc first")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)   # odd machine stamps: a viewer shows what it can read
            opened = (mrcfile.mmap(path, mode="r", permissive=True) if plain == path
                      else mrcfile.open(path, permissive=True))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} can't be read as an MRC map: {error}; it may be truncated or still being "
                         "written") from error
    header, voxels = opened.header, opened.data
    if voxels is None:
        raise InputError(f"{path} is shorter than its header promises; it is truncated or still being written")
    if np.iscomplexobj(voxels):
        raise InputError(f"{path} holds a Fourier transform (MRC mode 4); give the map itself")
    if voxels.ndim == 4:
        if not 1 <= (index or 1) <= len(voxels):
            raise InputError(f"{path} holds {len(voxels)} volumes and number {index} was asked for; import it again")
        voxels = voxels[(index or 1) - 1]
    order = (int(header.maps), int(header.mapr), int(header.mapc))
    if voxels.ndim == 3 and sorted(order) == [1, 2, 3]:      # 0, 0, 0 in files of old programs means the standard order
        voxels = voxels.transpose([order.index(crystal_axis) for crystal_axis in (3, 2, 1)])
    header_size = np.array([getattr(opened.voxel_size, axis) for axis in AXES], float)
    size, note = header_size, ""
    if pixel_size:
        size = np.full(3, float(pixel_size))
        if (header_size > 0).all() and np.abs(header_size / pixel_size - 1).max() > 0.01:
            note = f"shown at {pixel_size:.4g} Å/px; the file's header says {header_size[2]:.4g} Å/px"
    elif not (header_size > 0).all():
        size, note = np.ones(3), "the header holds no voxel size: 1 Å/px is assumed"
    return VolumeData(voxels, size, label, path, note)


def _survey(voxels, label) -> Survey:
    nz, ny, nx = voxels.shape
    factor = -(-max(voxels.shape) // COARSE_BOX)
    coarse = np.empty(tuple(max(1, n // factor) for n in voxels.shape), np.float32)
    projections = {"z": np.zeros((ny, nx)), "y": np.empty((nz, nx)), "x": np.empty((nz, ny))}
    total = total_squares = 0.0
    low, high, finite_count = np.inf, -np.inf, 0
    # slabs of whole blocks, so that one pass serves the coarse copy too
    slab = factor * max(1, int(SLAB_BYTES / (4 * ny * nx * factor)))
    for start in range(0, nz, slab):
        part = np.asarray(voxels[start:start + slab], np.float32)
        finite = np.isfinite(part)
        if not finite.all():
            part = np.where(finite, part, np.float32(0))
        if finite.any():
            low, high = min(low, float(part[finite].min())), max(high, float(part[finite].max()))
        finite_count += int(finite.sum())
        total += float(part.sum(dtype=np.float64))
        total_squares += float(np.einsum("zyx,zyx->", part, part, dtype=np.float64))
        projections["z"] += part.sum(axis=0)
        projections["y"][start:start + slab] = part.mean(axis=1)
        projections["x"][start:start + slab] = part.mean(axis=2)
        _block_average(part, factor, coarse[start // factor:])
    if finite_count == 0:
        raise InputError(f"{label} holds no finite value ({voxels.size} voxels are NaN or infinite): the job that "
                         "wrote it diverged; look at its log and start it again with other settings")
    projections["z"] /= nz
    mean = total / finite_count
    sigma = float(np.sqrt(max(0.0, total_squares / finite_count - mean ** 2)))
    if sigma < 1e-6 * max(abs(low), abs(high)):     # rounding of the sums, where all voxels are alike
        sigma = 0.0 if low == high else sigma
    step = max(1, int(np.ceil(voxels.size / HISTOGRAM_VOXELS)))
    sampled = np.asarray(voxels[step // 2::step], np.float32)
    counts, edges = np.histogram(sampled[np.isfinite(sampled)], bins=2000, range=(low, high))
    return Survey(mean, sigma, low, high, voxels.size - finite_count, projections, coarse, factor, counts, edges, step)


def _block_average(part, factor, out):
    """Mean over factor³ blocks of a slab into the first rows of `out`; an incomplete last block is left out."""
    blocks = min(part.shape[0] // factor, len(out)), out.shape[1], out.shape[2]
    if min(part.shape) < factor:
        out[:1] = part.mean()
        return
    trimmed = part[:blocks[0] * factor, :blocks[1] * factor, :blocks[2] * factor]
    out[:blocks[0]] = trimmed.reshape(blocks[0], factor, blocks[1], factor, blocks[2], factor).mean(axis=(1, 3, 5))

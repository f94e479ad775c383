"""Particle images as the engines want them: normalised, downsampled, read in blocks within a memory budget."""
from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.fft

from ..core.ctf import is_distorted
from ..core.errors import InputError
from ..core.fourier import resample_images
from .background import Background, contrast_sentence, refuse_rows
from .reframe import Reframe
from .scratch import ScratchCache, fingerprint
from .stacks import StackReader
from .undistort import undistorted

# copies of a full-size image alive at the worst moment: file bytes, float32, background, transform, shifted, cropped
_COPIES = 7
_BLOCK_BYTES = 48_000_000


class ParticleSource:
    """The images of a particle table, read when asked for; never the whole set in memory.

    table : ParticleTable. box_size : the largest box in px that will be worked with (≤ the first optics group's); all
        boxes show the same field of `extent_a` Å, that of the first group.
    diameter_a : particle diameter in Å; the background is what lies outside this circle.
    pixel_size : Å/px of the images at `box_size`, checked where given. memory_gb : budget for what this object and one
        call's result may take. scratch_dir : folder for a float16 cache at `box_size`, or None.
    normalise : bring each image's background to mean 0 and standard deviation 1, measured at full size. invert : change
        the sign (dark particles); may be set later. threads : for Fourier transforms. undistort : undo the optics
        groups' anisotropic magnification in the images (io/undistort.py); else they are as they were recorded.

    Optics groups with another pixel size or box are resampled to the first one's field, and scaled so that the same
    density gives the same Fourier coefficients.
    Raises InputError: the box is too large, the budget too small, the scratch folder unusable.
    """

    def __init__(self, table, *, box_size, diameter_a, pixel_size=None, scratch_dir=None, memory_gb=2.0,
                 normalise=True, invert=False, threads=1, undistort=False):
        self.table, self.box_size = table, int(box_size)
        self.full_box, self.full_pixel_size = table.box_size, table.pixel_size
        self.extent_a = self.full_box * self.full_pixel_size
        self.diameter_a, self.normalise, self.invert, self.threads = float(diameter_a), normalise, invert, threads
        self.undistort = undistort
        self.memory_bytes = int(memory_gb * 1e9)
        if not 1 < self.box_size <= self.full_box:
            raise InputError(f"working box {box_size} px must lie between 2 and the particles' {self.full_box} px")
        if not self.diameter_a > 0:
            raise InputError(f"particle diameter {diameter_a:g} Å is not positive; measure it on a particle image")
        if pixel_size is not None and abs(pixel_size - self.pixel_size) > 1e-3 * self.pixel_size:
            raise InputError(f"pixel size {pixel_size:g} Å/px does not belong to a box of {box_size} px: the field of "
                             f"{self.extent_a:g} Å gives {self.pixel_size:g}")
        largest = max(group.box_size for group in table.optics)
        image_bytes = _COPIES * 4 * largest ** 2
        self.block = int(min(self.memory_bytes // 8, _BLOCK_BYTES) // image_bytes) or 1
        if image_bytes > self.memory_bytes:
            raise InputError(f"a memory budget of {memory_gb:g} GB is too small for images of {largest} px; give at "
                             f"least {image_bytes / 1e9:.2g} GB")
        self._reader = StackReader()
        self._backgrounds = {}
        self._reframes = {}
        self._cache = None
        if scratch_dir is not None:
            settings = dict(box=self.box_size, diameter=self.diameter_a, normalise=bool(normalise))
            if undistort:
                settings["undistort"] = [group.magnification for group in table.optics]
            key = fingerprint(table, **settings)
            self._cache = ScratchCache(scratch_dir, key, len(table), self.box_size)
        self._images = 0
        self._seconds = 0.0

    def __len__(self):
        return len(self.table)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    @property
    def pixel_size(self) -> float:
        """Å/px of images of `box_size`."""
        return self.extent_a / self.box_size

    @property
    def notes(self) -> list:
        """Sentences on what is done to whole optics groups: those brought to the first one's field."""
        first = self.table.optics[0]
        return [f"Optics group {group.name} ({group.box_size} px, {group.pixel_size:g} Å/px) is resampled to the field "
                f"of {first.name} ({first.box_size} px, {first.pixel_size:g} Å/px)." for group in self.table.optics
                if (group.box_size, group.pixel_size) != (first.box_size, first.pixel_size)]

    def images(self, rows, box=None):
        """Images of the given rows of the table as (n, box, box) float32, the sum over pixels kept by the resampling.

        rows : (n,) indices. box : px, `box_size` if None; any up to the first optics group's full box.
        Raises InputError: the result alone would exceed half the memory budget; NaN, infinite or constant image, named
        by row and stack; unreadable stack; full scratch disk.
        """
        start = time.perf_counter()
        rows = np.asarray(rows, dtype=np.int64)
        box = self.box_size if box is None else int(box)
        if 4 * len(rows) * box * box > self.memory_bytes // 2:
            result_gb = 4e-9 * len(rows) * box * box
            raise InputError(f"{len(rows)} images of {box} px take {result_gb:.2f} GB, more than half of the memory "
                             f"budget, {self.memory_bytes / 1e9:g} GB; raise --memory or ask for fewer")
        result = np.empty((len(rows), box, box), np.float32)
        with scipy.fft.set_workers(self.threads):
            for first in range(0, len(rows), self.block):
                part = slice(first, first + self.block)
                result[part] = self._block_images(rows[part], box)
        if self.invert:
            np.negative(result, out=result)
        self._images += len(rows)
        self._seconds += time.perf_counter() - start
        return result

    def blocks(self, rows=None, box=None, size=None):
        """Iterate over (rows of a block, its images), the next block being read while the caller works on this one.

        rows : all, in the order of the files, if None. size : images a block; None takes a sixteenth of the budget.
        """
        rows = self._file_order() if rows is None else np.asarray(rows, dtype=np.int64)
        box = self.box_size if box is None else int(box)
        size = size or max(1, self.memory_bytes // 16 // (4 * box * box))
        parts = [rows[first:first + size] for first in range(0, len(rows), size)]
        with ThreadPoolExecutor(1) as ahead:
            coming = [ahead.submit(self.images, part, box) for part in parts[:1]]
            for number, part in enumerate(parts):
                images = coming.pop().result()
                if number + 1 < len(parts):
                    coming.append(ahead.submit(self.images, parts[number + 1], box))
                yield part, images

    def fill(self, progress=None):
        """Copy what is missing into the scratch cache in one pass in file order; returns the number of images copied.

        progress : called with (images done, images to do). Raises InputError without a scratch folder, or as `images`.
        """
        if self._cache is None:
            raise InputError("there is no scratch folder to fill; give one with --scratch")
        rows = self._file_order()
        rows = rows[~self._cache.has(rows)]
        for first in range(0, len(rows), self.block):
            self.images(rows[first:first + self.block])
            if progress is not None:
                progress(min(first + self.block, len(rows)), len(rows))
        self._cache.flush()
        return len(rows)

    def check_sample(self, count=300):
        """Read a sample spread over the set before computing; returns (sentence about the contrast, inverted).

        inverted : True where the particles are clearly darker than their surroundings: set `invert` then.
        Raises InputError for unreadable, NaN, infinite or constant images among them.
        """
        rows = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))
        contrasts = []
        for first in range(0, len(rows), self.block):
            part = rows[first:first + self.block]
            for group, where in self._by_geometry(part):
                contrasts.append(self._background(group).contrast(self._normalised(part[where], group)))
        return contrast_sentence(np.concatenate(contrasts))

    def statistics(self) -> dict:
        """bytes_read (from stacks), cache_bytes_read, cache_bytes_written, images, seconds, images_per_second."""
        cache = self._cache
        return {"bytes_read": self._reader.bytes_read,
                "cache_bytes_read": cache.bytes_read if cache else 0,
                "cache_bytes_written": cache.bytes_written if cache else 0,
                "images": self._images, "seconds": self._seconds,
                "images_per_second": self._images / self._seconds if self._seconds else 0.0}

    def close(self, remove=False):
        """Close all files; `remove` deletes the scratch cache."""
        self._reader.close()
        if self._cache is not None:
            self._cache.close(remove)

    def _block_images(self, rows, box):
        if self._cache is None or box > self.box_size:
            return self._prepared(rows, box)
        images = np.empty((len(rows), self.box_size, self.box_size), np.float32)
        present = self._cache.has(rows)
        if present.any():
            images[present] = self._cache.read(rows[present])
        if not present.all():
            # as the cache will give them, so that a run doesn't depend on which rows were there before
            images[~present] = self._cache.write(rows[~present], self._prepared(rows[~present], self.box_size))
        return images if box == self.box_size else resample_images(images, box)

    def _prepared(self, rows, box):
        """Images from the stacks, normalised and resampled to `box` px of the first group's field."""
        result = np.empty((len(rows), box, box), np.float32)
        for group, where in self._by_geometry(rows):
            images = self._normalised(rows[where], group)
            if self.undistort and is_distorted(group):
                images = undistorted(images, group.magnification)
            if (group.box_size, group.pixel_size) == (self.full_box, self.full_pixel_size):
                result[where] = images if box == self.full_box else resample_images(images, box)
            else:
                result[where] = self._reframe(group, box)(images)
        return result

    def _by_geometry(self, rows):
        """(an optics group, positions in rows) for each box and pixel size, and distortion to undo, among the rows."""
        geometries = [(group.box_size, group.pixel_size, self.undistort and str(group.magnification))
                      for group in self.table.optics]
        distinct = list(dict.fromkeys(geometries))
        kind = np.array([distinct.index(geometry) for geometry in geometries])[self.table.optics_id[rows]]
        for number in np.unique(kind):
            yield self.table.optics[geometries.index(distinct[number])], np.flatnonzero(kind == number)

    def _normalised(self, rows, group):
        images = self._reader.read(self.table, rows)
        if images.shape[1] != group.box_size:
            raise InputError(f"stack {self.table.stack_paths[self.table.stack_id[rows[0]]]} has boxes of "
                             f"{images.shape[1]} px, its optics group says {group.box_size} px; correct rlnImageSize")
        background, refuse = self._background(group), refuse_rows(self.table, rows)
        if self.normalise:
            background.normalise(images, refuse)
        else:
            background.check(images, refuse)
        return images

    def _background(self, group):
        key = (group.box_size, group.pixel_size)
        if key not in self._backgrounds:
            self._backgrounds[key] = Background(*key, self.diameter_a)
        return self._backgrounds[key]

    def _reframe(self, group, box):
        key = (group.box_size, group.pixel_size, box)
        if key not in self._reframes:
            # a density's coefficient goes with 1/pixel², its normalised noise with pixel: see the class
            ratio = group.pixel_size / self.full_pixel_size
            self._reframes[key] = Reframe(group.box_size, group.pixel_size, box, self.extent_a,
                                          factor=ratio if self.normalise else ratio ** 2)
        return self._reframes[key]

    def _file_order(self):
        return np.lexsort((self.table.stack_index, self.table.stack_id))

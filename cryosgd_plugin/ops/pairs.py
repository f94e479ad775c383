"""Pairs of direction and shift of several images, as rectangles: neighbouring rows under the same shifts.

Where a search cuts a cell of directions into its four children, all of them go on with the same shifts. So the pairs
that are left are many small rectangles, and a kernel that scores a rectangle reads each of its rows and columns once.
Everything here is in array operations of numpy or CuPy, for all images at once.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.backend import array_module

# rows of a rectangle, at most: what the kernel keeps in registers
TILE = 4


@dataclass(frozen=True)
class Pairs:
    """Pairs of n images, counted through image by image, row by row, shift by shift.

    image, row, height, first, count : (u,) int32, of each rectangle the image, its rows row … row + height − 1, and its
    shifts shifts[first : first + count]; rectangles are sorted by image and row
    start : (u + 1,) int64, the number of each rectangle's first pair, start + k · count + j for its row k and shift j
    shifts : (l,) int32; n : images
    """

    image: object
    row: object
    height: object
    first: object
    count: object
    start: object
    shifts: object
    n: int
    total: int

    @classmethod
    def of(cls, image, row, height, first, count, shifts, n: int) -> "Pairs":
        """Rectangles whose pairs are yet to be counted."""
        xp = array_module(image)
        start = xp.concatenate([xp.zeros(1, xp.int64), xp.cumsum(height.astype(xp.int64) * count)])
        return cls(*(one.astype(xp.int32) for one in (image, row, height, first, count)), start,
                   shifts.astype(xp.int32), n, int(start[-1]))

    @classmethod
    def everything(cls, n: int, n_rows: int, n_shifts: int, xp=np) -> "Pairs":
        """All pairs of n images."""
        rows = xp.arange(0, n_rows, TILE)
        image, row = xp.repeat(xp.arange(n), len(rows)), xp.tile(rows, n)
        return cls.of(image, row, xp.minimum(n_rows - row, TILE), xp.zeros_like(row), xp.full_like(row, n_shifts),
                      xp.arange(n_shifts), n)

    @classmethod
    def listed(cls, image, row, shift, n: int) -> "Pairs":
        """Pairs that are given one by one, sorted by image, row and shift."""
        xp = array_module(image)
        new = xp.ones(len(image), bool)
        new[1:] = (image[1:] != image[:-1]) | (row[1:] != row[:-1])
        first = xp.flatnonzero(new)
        count = xp.diff(xp.concatenate([first, xp.full(1, len(image), first.dtype)]))
        return cls.of(image[first], row[first], xp.ones_like(first), first, count, shift, n)

    def __len__(self) -> int:
        return self.total

    def expanded(self):
        """(image, row, shift), (total,) int32 each."""
        xp = array_module(self.image)
        number = self.start[0] + xp.arange(self.total)
        of = xp.searchsorted(self.start, number, side="right") - 1
        within = number - self.start[of]
        count = self.count[of]
        return (self.image[of], self.row[of] + (within // count).astype(xp.int32),
                self.shifts[self.first[of] + within % count])

    def segments(self):
        """(n + 1,) int64 where each image's pairs begin."""
        xp = array_module(self.image)
        return self.start[xp.searchsorted(self.image, xp.arange(self.n + 1))]

    def part(self, begin: int, end: int) -> "Pairs":
        """Some of the rectangles, whose pairs keep their numbers: start[0] is the first."""
        start = self.start[begin:end + 1]
        return Pairs(*(one[begin:end] for one in (self.image, self.row, self.height, self.first, self.count)), start,
                     self.shifts, self.n, int(start[-1] - start[0]))

    def used_shifts(self, n_shifts: int):
        """(n, n_shifts) bool: the shifts that each image is scored under."""
        xp = array_module(self.image)
        used = xp.zeros((self.n, n_shifts), bool)
        # each rectangle's list, spread out
        begin = xp.cumsum(self.count.astype(xp.int64)) - self.count
        number = xp.arange(int(self.count.sum()))
        of = xp.searchsorted(begin, number, side="right") - 1
        used[self.image[of], self.shifts[self.first[of] + number - begin[of]]] = True
        return used


class Cells:
    """Which pairs of a finer level lie in the cells of a coarser one's, for all images at once.

    near : (coarse shifts, fine shifts), above 0 where a fine shift lies in a coarse one's cell; ratio : directions of
    the finer level in each cell, which follow each other; xp : numpy or cupy
    """

    def __init__(self, near, ratio: int, xp=np):
        self.near, self.ratio = xp.asarray(near, dtype=xp.float32), ratio

    def children(self, image, row, shift, n: int) -> Pairs:
        """The finer level's pairs in the cells of pairs of n images, given one by one, sorted by image, row and
        shift."""
        xp = array_module(image)
        cells = Pairs.listed(image, row, shift, n)
        marked = xp.zeros((len(cells.image), len(self.near)), xp.float32)
        marked[xp.searchsorted(cells.start, xp.arange(len(image)), side="right") - 1, shift] = 1
        cell, found = xp.nonzero(marked @ self.near > 0)
        first = xp.searchsorted(cell, xp.arange(len(marked)))
        count = xp.searchsorted(cell, xp.arange(len(marked)), side="right") - first
        # rectangles of TILE rows at most
        begins = xp.arange(0, self.ratio, TILE)
        rows = (cells.row[:, None] * self.ratio + begins).ravel()
        height = xp.tile(xp.minimum(self.ratio - begins, TILE), len(marked))
        image, first, count = (xp.repeat(one, len(begins)) for one in (cells.image, first, count))
        return Pairs.of(image, rows, height, first, count, found, n)


def best_of_each(values, image, most: int):
    """Sorted numbers of the `most` largest of (p,) values of each image; image : (p,), sorted. The first of equals."""
    xp = array_module(values)
    order = xp.argsort(-values, kind="stable")
    order = order[xp.argsort(image[order], kind="stable")]
    begin = xp.searchsorted(image, image)
    # sorted by image the places are as they were
    kept = order[xp.arange(len(values)) - begin < most]
    return xp.sort(kept)

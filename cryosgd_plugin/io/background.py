"""What lies around the particle: grey-value normalisation by it, bad images found in it, contrast against it."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError

_CONTRAST_SIGMAS = 5.0


class Background:
    """The pixels of a box on both sides of the particle's circle.

    box_size in px, pixel_size in Å/px, diameter_a in Å. The corners beyond the inscribed circle are background at
    least, however large the particle.
    """

    def __init__(self, box_size, pixel_size, diameter_a):
        self.diameter_a = diameter_a
        y, x = np.indices((box_size, box_size)) - box_size // 2
        radius_a = np.hypot(x, y) * pixel_size
        self._inside = np.flatnonzero(radius_a <= 0.5 * diameter_a)
        self._outside = np.flatnonzero(radius_a > 0.5 * min(diameter_a, box_size * pixel_size))

    def normalise(self, images, refuse):
        """Bring each image's background to mean 0 and standard deviation 1, in place; `check` first, as here.

        images : (n, box, box) float32. refuse : function of (mask (n,) of wrong images, words), which raises.
        """
        mean, spread, flat = self.check(images, refuse)
        refuse(flat, f"has no noise outside the circle of {self.diameter_a:g} Å (masked?), so it can't be normalised")
        images -= mean[:, None, None]
        images /= spread[:, None, None]

    def check(self, images, refuse):
        """(mean, standard deviation, whether that is 0) of the background, three (n,) arrays; bad images are refused.

        Bad are NaN and infinite pixels and images of one constant value. Arguments as for `normalise`.
        """
        refuse(~np.isfinite(images).all(axis=(1, 2)), "holds NaN or infinite pixels")
        # sums along contiguous rows: a matrix product, or a mask's transposed layout, would round in a way that depends
        # on which images share a block
        background = images.reshape(len(images), -1).take(self._outside, axis=1)
        mean = background.mean(axis=1, dtype=np.float64).astype(np.float32)
        background -= mean[:, None]
        spread = np.sqrt(np.square(background, out=background).mean(axis=1, dtype=np.float64)).astype(np.float32)
        flat = ~(spread > 1e-6 * np.abs(mean))
        if flat.any():
            constant = np.zeros(len(images), bool)
            constant[flat] = np.ptp(images[flat].reshape(flat.sum(), -1), axis=1) == 0
            refuse(constant, "is constant")
        return mean, spread, flat

    def contrast(self, images):
        """(n,) mean inside the particle's circle less that outside, in units of each image's standard deviation."""
        pixels = images.reshape(len(images), -1)
        inside, outside = (pixels.take(side, axis=1).mean(axis=1) for side in (self._inside, self._outside))
        return (inside - outside) / pixels.std(axis=1)


def contrast_sentence(contrasts):
    """(sentence, inverted) from the `contrast` of a sample of images; not inverted where it can't be told."""
    mean = float(np.mean(contrasts))
    error = float(np.std(contrasts)) / np.sqrt(len(contrasts)) + 1e-12
    figure = f"inside less outside {mean:+.3f} sd, {abs(mean) / error:.1f} standard errors, {len(contrasts)} images"
    if mean < -_CONTRAST_SIGMAS * error:
        return f"The particles are dark on a brighter background ({figure}): their contrast has to be inverted.", True
    if mean > _CONTRAST_SIGMAS * error:
        return f"The particles are white on a darker background ({figure}), as they should be.", False
    return f"Whether the particles are white or dark can't be told from the images ({figure}); taken as white.", False


def refuse_rows(table, rows):
    """A function (mask over `rows`, words) that raises InputError naming the first marked particle and its stack."""
    def refuse(wrong, words):
        if not wrong.any():
            return
        row = int(rows[np.argmax(wrong)])
        more = f" (as do {wrong.sum() - 1} more read with it)" if wrong.sum() > 1 else ""
        raise InputError(f"particle {row + 1} of the set, {table.stack_index[row] + 1:06d}@"
                         f"{table.stack_paths[table.stack_id[row]]}, {words}{more}; remove it from the particle file")
    return refuse

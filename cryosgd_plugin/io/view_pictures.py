"""View directions of a particle set on an equal-area map of the sphere; quick for millions of particles."""
from __future__ import annotations

import healpix
import numpy as np

from ..core.errors import InputError
from ..core.symmetry import point_group
from .axes_pictures import GREY
from .direction_pictures import draw_on_sphere

PARTICLES_PER_AREA = 8      # on average, so that a uniform set looks even
FINEST_NSIDE = 32           # 12,288 areas of 1.8°


def draw_view_directions(figure, rot_deg, tilt_deg, symmetry="C1"):
    """Where particles were seen from, in Mollweide's equal-area projection, coloured against an even spread.

    rot_deg, tilt_deg : (n,) degrees, RELION's angles: the direction (sin tilt cos rot, sin tilt sin rot, cos tilt)
    symmetry : point group; each particle counts in all its symmetric directions, as it does in the map
    Directions are counted on HEALPix's equal areas (Gorski et al. 2005). Raises InputError for no particle.
    """
    rot_deg, tilt_deg = np.asarray(rot_deg, float), np.asarray(tilt_deg, float)
    if not len(rot_deg):
        raise InputError("there are no particles with poses to show; the run has not assigned any yet")
    operators = point_group(symmetry)
    _, counts = count_directions(rot_deg, tilt_deg, operators)
    density = counts * len(counts) / counts.sum()
    figure.clear()
    axes = figure.add_axes([0.05, 0.07, 0.82, 0.78])
    top = max(2.0, float(np.percentile(density, 99.5)))
    image = draw_on_sphere(axes, density, top)
    bar = figure.colorbar(image, cax=figure.add_axes([0.90, 0.16, 0.018, 0.60]))
    bar.set_label("views, relative to an even spread", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.ax.axhline(1, color="white", lw=1.2)
    empty = 100 * np.mean(counts == 0)
    copies = f", in {len(operators)} symmetric copies each ({symmetry})" if len(operators) > 1 else ""
    figure.text(0.5, 0.965, f"view directions of {len(rot_deg):,} particles{copies}", ha="center", va="top",
                fontsize=12)
    figure.text(0.5, 0.915, f"{len(counts):,} equal areas, {counts.mean():.3g} views in each on average, "
                            f"{empty:.1f} % hold none", ha="center", va="top", fontsize=9, color=GREY)


def count_directions(rot_deg, tilt_deg, operators=None):
    """(nside, counts (12·nside²,)) of directions on HEALPix, as fine as the number of particles allows.

    operators : (g, 3, 3) rotations of a point group; a direction d counts at all its mates S·d
    """
    operators = np.eye(3)[None] if operators is None else operators
    share = np.sqrt(len(rot_deg) * len(operators) / PARTICLES_PER_AREA / 12)
    nside = int(2 ** np.clip(np.floor(np.log2(max(share, 1))), 1, np.log2(FINEST_NSIDE)))
    theta, phi = np.radians(tilt_deg), np.radians(rot_deg)
    # by way of the vector, which folds a tilt beyond 0..180 back
    vectors = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])
    counts = np.zeros(12 * nside * nside, np.int64)
    for operator in operators:
        counts += np.bincount(healpix.vec2pix(nside, *(operator @ vectors)), minlength=len(counts))
    return nside, counts

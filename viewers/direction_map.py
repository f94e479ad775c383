"""View directions of a particle set on an equal-area map of the sphere; quick for millions of particles."""
from __future__ import annotations

import healpix
import numpy as np
from matplotlib.colors import Normalize

from ..core.errors import InputError
from ..core.symmetry import point_group

PARTICLES_PER_AREA = 8      # on average, so that a uniform set looks even
FINEST_NSIDE = 32           # 12,288 areas of 1.8°
ROOT2 = np.sqrt(2.0)


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
    nside, counts = count_directions(rot_deg, tilt_deg, operators)
    density = counts * len(counts) / counts.sum()
    figure.clear()
    axes = figure.add_axes([0.05, 0.07, 0.82, 0.78])
    top = max(2.0, float(np.percentile(density, 99.5)))
    image = axes.imshow(_mollweide(density, nside), extent=(-2 * ROOT2, 2 * ROOT2, -ROOT2, ROOT2), origin="lower",
                        cmap="viridis", norm=Normalize(0, top), interpolation="nearest")
    _graticule(axes)
    bar = figure.colorbar(image, cax=figure.add_axes([0.90, 0.16, 0.018, 0.60]))
    bar.set_label("views, relative to an even spread", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.ax.axhline(1, color="white", lw=1.2)
    empty = 100 * np.mean(counts == 0)
    copies = f", in {len(operators)} symmetric copies each ({symmetry})" if len(operators) > 1 else ""
    figure.text(0.5, 0.965, f"view directions of {len(rot_deg):,} particles{copies}", ha="center", va="top",
                fontsize=12)
    figure.text(0.5, 0.915, f"{len(counts):,} equal areas, {counts.mean():.3g} views in each on average, "
                            f"{empty:.1f} % hold none", ha="center", va="top", fontsize=9, color="#495057")


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


def _mollweide(values, nside, height=400):
    """Values of HEALPix pixels on the map, (height, 2·height); NaN outside the ellipse."""
    y, x = np.meshgrid((np.arange(height) + 0.5) / height * 2 - 1, (np.arange(2 * height) + 0.5) / height * 2 - 2,
                       indexing="ij")
    inside = (x / 2) ** 2 + y ** 2 < 1
    auxiliary = np.arcsin(y[inside])
    latitude = np.arcsin(np.clip((2 * auxiliary + np.sin(2 * auxiliary)) / np.pi, -1, 1))
    longitude = np.pi * x[inside] / (2 * np.cos(auxiliary))
    picture = np.full(x.shape, np.nan)
    picture[inside] = values[healpix.ang2pix(nside, np.pi / 2 - latitude, longitude)]
    return picture


def _graticule(axes):
    """Lines and labels of rot and tilt."""
    outline = np.linspace(0, 2 * np.pi, 200)
    axes.plot(2 * ROOT2 * np.cos(outline), ROOT2 * np.sin(outline), color="#495057", lw=1)
    for tilt in (30, 60, 90, 120, 150):
        auxiliary = _auxiliary(np.radians(90 - tilt))
        half, y = 2 * ROOT2 * np.cos(auxiliary), ROOT2 * np.sin(auxiliary)
        axes.plot([-half, half], [y, y], color="white", lw=0.5, alpha=0.6)
        axes.text(-half - 0.06, y, f"{tilt}°", ha="right", va="center", fontsize=8)
    auxiliary = np.linspace(-np.pi / 2, np.pi / 2, 90)
    for rot in range(-120, 180, 60):
        x = 2 * ROOT2 / 180 * rot
        axes.plot(x * np.cos(auxiliary), ROOT2 * np.sin(auxiliary), color="white", lw=0.5, alpha=0.6)
        axes.text(x, -0.04, f"{rot}°", color="white", fontsize=7.5, ha="center", va="top")
    axes.text(0, ROOT2 + 0.03, "tilt 0°: along +z", ha="center", va="bottom", fontsize=8)
    axes.text(0, -ROOT2 - 0.03, "tilt 180°", ha="center", va="top", fontsize=8)
    axes.text(-2 * ROOT2, -ROOT2, "rows: tilt\ncolumns: rot", ha="left", va="bottom", fontsize=8, color="#495057")
    axes.set_xlim(-2 * ROOT2 - 0.35, 2 * ROOT2 + 0.05)
    axes.set_ylim(-ROOT2 - 0.15, ROOT2 + 0.15)
    axes.set_axis_off()


def _auxiliary(latitude):
    """Mollweide's auxiliary angle: 2θ + sin 2θ = π sin latitude, by Newton's method."""
    theta = latitude
    for _ in range(20):
        theta -= (2 * theta + np.sin(2 * theta) - np.pi * np.sin(latitude)) / (2 + 2 * np.cos(2 * theta))
    return theta

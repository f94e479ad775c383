"""Distributions over view directions on Mollweide's equal-area map of the sphere."""
from __future__ import annotations

import healpix
import numpy as np

from ..core.errors import InputError
from ..core.poses import directions_to_vectors
from ..core.symmetry import point_group
from .axes_pictures import GREY

# areas of 3.7° on which a distribution is drawn
SHOWN_NSIDE = 16
# spacings of the directions at which the blur has fallen to half
BLUR = 1.2
ROOT2 = np.sqrt(2.0)


def draw_importance(figure, importance, symmetry="C1"):
    """Where a run looks for its particles: their mean importance distribution over view directions, a map per class.

    importance : the dict of importance.json, `directions_deg` (n, 2) [rot, tilt] of HEALPix's n areas in any order and
    `mass` (K, n), summing to 1 over all; coloured against an even spread over the class. symmetry : point group that
    the run has imposed; it searches one unit of it, which is drawn in all its copies. Paper 1, Fig. 10.
    Raises InputError where there is no distribution yet.
    """
    if not importance or not importance.get("mass"):
        raise InputError("there is no importance distribution yet; it is written with the first map on the way")
    mass = np.asarray(importance["mass"], float)
    shares = mass.sum(axis=1) / mass.sum()
    densities = _relative(importance["directions_deg"], mass, point_group(symmetry))
    figure.clear()
    rows, columns = sheet_shape(len(mass))
    grid = figure.add_gridspec(rows, columns + 1, width_ratios=[1] * columns + [0.035], left=0.05, right=0.93,
                               top=0.86, bottom=0.04, wspace=0.08, hspace=0.28)
    top = max(2.0, float(np.percentile(densities, 99.5)))
    for k, density in enumerate(densities):
        axes = figure.add_subplot(grid[divmod(k, columns)])
        image = draw_on_sphere(axes, density, top, small=len(mass) > 1)
        if len(mass) > 1:
            axes.set_title(f"class {k + 1}, {100 * shares[k]:.1f} % of the mass", fontsize=9.5)
    bar = figure.colorbar(image, cax=figure.add_subplot(grid[:, columns]))
    bar.set_label("mass, relative to an even spread", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.ax.axhline(1, color="white", lw=1.2)
    copies = f", in the copies of {symmetry}" if len(point_group(symmetry)) > 1 else ""
    figure.suptitle(f"importance distribution of view directions, mean over the particles{copies}", fontsize=11)


def sheet_shape(count):
    """(rows, columns) for so many panels that are twice as wide as high."""
    columns = 1 if count == 1 else 2 if count <= 4 else 3 if count <= 9 else 4
    return -(-count // columns), columns


def draw_on_sphere(axes, values, top, small=False, low=0.0):
    """Values of HEALPix's areas, (12·nside²,) in ring order, on Mollweide's map; returns the image.

    low, top : values of the darkest and the brightest colour. small : leaves the labels of rot and tilt out.
    """
    image = axes.imshow(mollweide(values), extent=(-2 * ROOT2, 2 * ROOT2, -ROOT2, ROOT2), origin="lower",
                        cmap="viridis", vmin=low, vmax=top, interpolation="nearest")
    _graticule(axes, small)
    return image


def mollweide(values, height=400):
    """Values of HEALPix areas in ring order on the map, (height, 2·height); NaN outside the ellipse."""
    y, x = np.meshgrid((np.arange(height) + 0.5) / height * 2 - 1, (np.arange(2 * height) + 0.5) / height * 2 - 2,
                       indexing="ij")
    inside = (x / 2) ** 2 + y ** 2 < 1
    auxiliary = np.arcsin(y[inside])
    latitude = np.arcsin(np.clip((2 * auxiliary + np.sin(2 * auxiliary)) / np.pi, -1, 1))
    longitude = np.pi * x[inside] / (2 * np.cos(auxiliary))
    picture = np.full(x.shape, np.nan)
    picture[inside] = values[healpix.ang2pix(healpix.npix2nside(len(values)), np.pi / 2 - latitude, longitude)]
    return picture


def _relative(directions_deg, mass, operators):
    """(K, areas) densities in ring order, 1 on average, from masses (K, n) on directions, over a group's copies.

    Blurred: the coarse grids of a run's beginning fill every fourth of the directions, and would show as chequers.
    """
    centres = np.stack(healpix.pix2vec(SHOWN_NSIDE, np.arange(12 * SHOWN_NSIDE ** 2)), axis=-1)
    vectors = directions_to_vectors(np.asarray(directions_deg))
    kappa = np.log(2) / (1 - np.cos(BLUR * np.sqrt(4 * np.pi / len(vectors))))
    # gathered, not scattered: areas don't fall onto areas, and an even spread must stay even
    kernels = (np.exp(kappa * (centres @ operator.T @ vectors.T - 1)) for operator in operators)
    density = sum((kernel @ mass.T) / kernel.sum(axis=1, keepdims=True) for kernel in kernels).T
    # a class that has lost all its particles has no mass to spread
    return density / np.maximum(density.mean(axis=1, keepdims=True), np.finfo(float).tiny)


def _graticule(axes, small):
    """Lines and labels of rot and tilt."""
    outline = np.linspace(0, 2 * np.pi, 200)
    axes.plot(2 * ROOT2 * np.cos(outline), ROOT2 * np.sin(outline), color=GREY, lw=1)
    for tilt in (30, 60, 90, 120, 150):
        auxiliary = _auxiliary(np.radians(90 - tilt))
        half, y = 2 * ROOT2 * np.cos(auxiliary), ROOT2 * np.sin(auxiliary)
        axes.plot([-half, half], [y, y], color="white", lw=0.5, alpha=0.6)
        if not small:
            axes.text(-half - 0.06, y, f"{tilt}°", ha="right", va="center", fontsize=8)
    auxiliary = np.linspace(-np.pi / 2, np.pi / 2, 90)
    for rot in range(-120, 180, 60):
        x = 2 * ROOT2 / 180 * rot
        axes.plot(x * np.cos(auxiliary), ROOT2 * np.sin(auxiliary), color="white", lw=0.5, alpha=0.6)
        if not small:
            axes.text(x, -0.04, f"{rot}°", color="white", fontsize=7.5, ha="center", va="top")
    if not small:
        axes.text(0, ROOT2 + 0.03, "tilt 0°: along +z", ha="center", va="bottom", fontsize=8)
        axes.text(0, -ROOT2 - 0.03, "tilt 180°", ha="center", va="top", fontsize=8)
        axes.text(-2 * ROOT2, -ROOT2, "rows: tilt\ncolumns: rot", ha="left", va="bottom", fontsize=8, color=GREY)
    axes.set_xlim(-2 * ROOT2 - (0.05 if small else 0.35), 2 * ROOT2 + 0.05)
    axes.set_ylim(-ROOT2 - 0.15, ROOT2 + 0.15)
    axes.set_axis_off()


def _auxiliary(latitude):
    """Mollweide's auxiliary angle: 2θ + sin 2θ = π sin latitude, by Newton's method."""
    theta = latitude
    for _ in range(20):
        theta -= (2 * theta + np.sin(2 * theta) - np.pi * np.sin(latitude)) / (2 + 2 * np.cos(2 * theta))
    return theta

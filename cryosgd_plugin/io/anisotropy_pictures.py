"""Pictures of what depends on direction: FSC within cones, and the sampling of Fourier space."""
from __future__ import annotations

import numpy as np

from .axes_pictures import COLOURS, GREY, GRID
from .direction_pictures import draw_on_sphere
from .pictures import _figure, _save
from .validation_pictures import draw_histogram
from .view_pictures import draw_view_directions

CONES_SIZE, SAMPLING_SIZE = (12.0, 5.2), (8.2, 4.6)
THRESHOLD = 0.143


def draw_cones(figure, cones):
    """Curves of a ConesTable, the resolution of each direction on the sphere, and its histogram. Tan et al. (2017)."""
    figure.clear()
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.7))
    axes = figure.add_subplot(grid[0, 0])
    frequency, (least, low, high, most) = cones.frequencies, cones.spread
    axes.fill_between(frequency[1:], least[1:], most[1:], color=COLOURS[4], alpha=0.35, label="all directions")
    axes.fill_between(frequency[1:], low[1:], high[1:], color=COLOURS[0], alpha=0.45, label="half of them")
    axes.plot(frequency[1:], cones.whole[1:], color=COLOURS[6], linewidth=1.4, label="whole shells")
    axes.axhline(THRESHOLD, color="0.6", linewidth=0.8, linestyle="--")
    axes.set(xlabel="spatial frequency (1/Å)", ylabel="FSC within cones", ylim=(min(-0.1, least[1:].min()), 1.05))
    axes.set_title(f"area ratio {cones.area_ratio:.2f}, sphericity {cones.sphericity:.2f}", fontsize=10)
    axes.grid(True, **GRID)
    axes.legend(fontsize=8)
    found = cones.resolutions_a
    known = found[np.isfinite(found)]
    axes = figure.add_subplot(grid[1, 0])
    if len(known):
        draw_histogram(axes, known, "share of directions (%)")
    axes.set_xlabel(f"resolution by direction at FSC {THRESHOLD} (Å)")
    axes = figure.add_subplot(grid[:, 1])
    middle = np.median(known) if len(known) else 1.0
    # at least a tenth of the median, so that scatter does not look like a pattern
    low, high = (min(np.min(known, initial=middle), 0.95 * middle), max(np.max(known, initial=middle), 1.05 * middle))
    image = draw_on_sphere(axes, np.where(np.isfinite(found), found, high), high, low=low)
    figure.colorbar(image, ax=axes, label="resolution (Å)", orientation="horizontal", shrink=0.7)
    figure.suptitle(f"Resolution by direction in Fourier space, cones of {cones.half_angle_deg:.0f}°", fontsize=11)


def save_cones_png(path, cones):
    """Save `draw_cones` as a PNG."""
    figure = _figure(*CONES_SIZE)
    draw_cones(figure, cones)
    _save(figure, path)


def draw_sampling(figure, sampling):
    """How often each direction of Fourier space was measured, relative to the mean, of a SamplingTable."""
    figure.clear()
    axes = figure.add_subplot()
    relative = sampling.counts / sampling.counts.mean()
    image = draw_on_sphere(axes, relative, max(2.0, float(np.percentile(relative, 99.5))))
    bar = figure.colorbar(image, ax=axes, label="slices, relative to their mean", shrink=0.8)
    bar.ax.axhline(1, color="white", lw=1.2)
    axes.set_title(f"Sampling of Fourier space at shell {sampling.shell}: SCF* {sampling.scf_star:.2f}", fontsize=11)
    figure.text(0.5, 0.02, f"{sampling.views:,} views, symmetry mates included; {sampling.unsampled:.1%} of the "
                           "directions never measured", ha="center", fontsize=9, color=GREY)


def save_sampling_png(path, sampling):
    """Save `draw_sampling` as a PNG."""
    figure = _figure(*SAMPLING_SIZE)
    draw_sampling(figure, sampling)
    _save(figure, path)


def save_views_png(path, rot_deg, tilt_deg, symmetry):
    """Save `draw_view_directions` as a PNG."""
    figure = _figure(*SAMPLING_SIZE, layout=None)  # it sets its own margins
    draw_view_directions(figure, rot_deg, tilt_deg, symmetry)
    _save(figure, path)

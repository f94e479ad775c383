"""What the history says of an iteration of a refinement."""
from __future__ import annotations

import numpy as np

from ...core.shells import crossing_resolution
from ..validation.half_maps import THRESHOLD


def iteration_record(engine, posed, radius: int) -> dict:
    """Plain values of the iteration that a Refinement has just made.

    posed : [(rows, PosedImages)] of both halves; radius : Fourier radius of its maps, px. Lengths in Å, angles in
    degrees, scores in nats. resolution_a, resolutions_a : where the FSC crosses 0.143, which the schedule goes by;
    resolved_a : what of that is evidence (RefineConfig.resolved), and may be told.
    """
    config, results = engine.config, engine.results
    rows = np.concatenate([part for part, _ in posed])

    def mean(name):
        return float(np.mean(np.concatenate([getattr(result, name) for _, result in posed])))

    pruned, cut = (np.concatenate([getattr(result, name) for _, result in posed]).mean(axis=0)
                   for name in ("pruned", "cut"))
    resolutions = [crossing_resolution(curve[:radius + 1], THRESHOLD, config.box_size, config.pixel_size)
                   for curve in engine.shell_fsc]
    return dict(
        iteration=engine.iteration, last=engine.convergence.last, n_images=len(rows), radius=engine.radius,
        resolution_in_use_a=config.extent_a / engine.radius, resolution_a=min(resolutions), resolutions_a=resolutions,
        resolved_a=[config.resolved(one) for one in resolutions], fsc=engine.shell_fsc.tolist(),
        spectra=[spectra.record() for spectra in engine.spectra],
        pruned=[float(value) for value in pruned], cut=[float(value) for value in cut],
        capped=mean("capped"), broad=mean("broad"), scored=mean("scored"), log_gain=mean("log_gain"),
        entropy=mean("entropy"), width_deg=float(np.median(results.width_deg[rows])),
        edge_deg=float(np.degrees(config.extent_a / engine.radius / config.diameter_a)),
        change_deg=_median(results.change_deg[rows]), change_a=_median(results.change_a[rows]),
        change_class=_mean(results.change_class[rows]),
        class_shares=[float(share) for share in results.class_mass[rows].mean(axis=0)])


def _mean(values):
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _median(values):
    return None if np.isnan(values).all() else float(np.nanmedian(values))

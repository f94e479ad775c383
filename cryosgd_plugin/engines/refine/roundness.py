"""Whether a low-passed reference tells the orientations of its particles apart at all.

A particle of high symmetry is nearly a ball at low resolution: apoferritin's images at 30 Å prefer their orientation to
one drawn at random by 3 nats, at 15 Å by 10 (of a ribosome by 190 at 30 Å). Begun too coarse a refinement then settles
at a smooth shell, on which both halves agree.
"""
from __future__ import annotations

import numpy as np

from ...core.ctf import ctf_for
from ...core.fourier import fft3_centred, frequencies_2d
from ...core.masks import spherical_average
from ...core.shells import friedel_weights, radial_average, shell_index_2d, shell_index_3d

# nats below which the orientations of most images are not told
ENOUGH = 8.0
# particles whose CTF is averaged
SAMPLE = 200
# finest resolution that is proposed, Å: what an ab initio map can usually be trusted to
FINEST_A = 12.0


def orientation_energy(volume, radius: int, noise, ctf2) -> np.ndarray:
    """(radius + 1,) nats by which an image prefers its orientation to one drawn at random, on average, if shells up to
    each are used: Σ C² |V − V̄|² / σ² over the image, with V̄ the spherical average of the map.

    volume : (d, d, d) in the particles' units; noise : (≥ radius + 1,) σ² by shell; ctf2 : (d, d // 2 + 1) mean C². The
    difference of two slices at unrelated orientations has twice the power of one, and counts half in the likelihood.
    """
    box = volume.shape[0]
    power = np.abs(fft3_centred(volume - spherical_average(volume))) ** 2
    power = radial_average(power, shell_index_3d(box), radius + 1)
    shell = shell_index_2d(box)
    each = np.bincount(np.minimum(shell, radius + 1).ravel(), (ctf2 * friedel_weights(box)).ravel())[:radius + 1]
    energy = each * power / np.asarray(noise)[:radius + 1]
    energy[0] = 0
    return np.cumsum(energy)


def round_references(engine) -> list:
    """A sentence for each reference of a Refinement that is too round where its first iteration begins; the engine's
    references have their scale."""
    config = engine.config
    if config.search == "local":
        return []
    rows = np.arange(min(SAMPLE, len(engine.table)))
    frequencies = frequencies_2d(config.box_size, config.pixel_size)
    ctf2 = np.mean(ctf_for(engine.table, rows, *frequencies) ** 2, axis=0)
    # a half may lack an optics group, whose noise it doesn't know
    noise, present = np.nanmean(engine.noise, axis=(0, 1)), config.initial_resolution_a
    finer = max(FINEST_A, present / 2)
    advice = ("Compare slices of the result with what you expect." if finer >= present else
              f"Begin finer, at {finer:g} Å say, as far as the reference can be trusted.")
    sentences = []
    count = engine.references.shape[1]
    for k in range(count):
        volume = engine.references[:, k].mean(axis=0) * engine.sphere
        energy = orientation_energy(volume, engine.first_radius, noise, ctf2)[-1]
        if energy < ENOUGH:
            which = "The reference" if count == 1 else f"Reference {k + 1}"
            sentences.append(f"{which} is nearly round at {present:g} Å, where the refinement begins: an image prefers "
                             f"its orientation to any other by {energy:.2g} nats only, and all may settle at a smooth "
                             f"shell. {advice}")
    return sentences

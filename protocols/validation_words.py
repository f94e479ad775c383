"""Sentences for a paper on how a map was validated, with the keys of what they cite."""
from __future__ import annotations


def methods(summary, mtf_given: bool) -> list:
    """Of the summary of a whole validation: a paragraph for each part that it has."""
    parts = ((_of_local, "local_resolution"), (_of_directions, "directional"), (_of_views, "sampling"),
             (_of_model, "model"))
    return [of_postprocessing(summary["postprocess"], summary["version"], mtf_given),
            *(words(summary[name]) for words, name in parts if name in summary)]


def of_postprocessing(summary, version, mtf_given: bool) -> str:
    """Of the summary of the post-processing; version : of CryoSGD."""
    mask = "that was given" if summary["mask"] else "made of their density"
    words = (f"The half-maps were compared in CryoSGD {version} by Fourier shell correlation, without a mask and "
             f"within a soft mask {mask} ({summary['mask_share']:.0%} of the box)")
    if not summary["independent"]:
        return words + ". They are one map, of which no resolution can be told."
    if summary["resolution_a"] is None:
        return words + ". They agree at no resolution."
    if summary["mask_too_tight"]:
        words += ". The mask was too tight to be corrected for, so that the unmasked curve was used"
    elif summary["randomised_from_a"]:
        words += (f", corrected by randomising the phases beyond {summary['randomised_from_a']:.1f} Å within the same "
                  "mask [Chen2013]")
    words += f". The resolution is {summary['resolution_a']:.2f} Å by the FSC = 0.143 criterion [Rosenthal2003]. "
    divided = "divided by the detector's MTF, " if mtf_given else ""
    how = "fitted to the Guinier plot from 10 Å to the resolution" if summary["guinier_fit"] else "chosen by hand"
    sharpened = (f"sharpened by a B-factor of {summary['bfactor']:.0f} Å², {how} [Rosenthal2003]"
                 if summary["bfactor"] else "not sharpened")
    return words + f"The map was {divided}weighted by the FSC, {sharpened}, and low-passed at its resolution."


def _of_local(part):
    low, high = (part["local_a"][name] for name in ("p5", "p95"))
    return (f"The local resolution was taken where the correlation of the half-maps, shell by shell within Gaussian "
            f"windows of {part['window_a']:.0f} Å full width at half maximum, falls below "
            f"{part['parameters']['threshold']:g} [Cardone2013]; within the mask it runs from {low:.1f} to "
            f"{high:.1f} Å (5th to 95th percentile), with a median of {part['local_a']['median']:.1f} Å.")


def _of_directions(part):
    if part["finest_a"] is None:
        return "Within cones of Fourier space the half-maps agree in no direction."
    return (f"Within cones of {part['half_angle_deg']:g}° half-angle [Tan2017] the half-maps agree to "
            f"{part['finest_a']:.1f} to {part['coarsest_a']:.1f} Å (FSC = 0.143), by direction; the ratio of the least "
            f"to the largest area under the cones' curves is {part['area_ratio']:.2f}, the sphericity "
            f"{part['sphericity']:.2f}.")


def _of_views(part):
    return (f"The particles' views, {part['views']} with symmetry mates, sample Fourier space with a sampling "
            f"compensation factor SCF* of {part['scf_star']:.2f} at shell {part['shell']} [Baldwin2020], [Baldwin2021] "
            f"and an efficiency of the orientations of {part['efficiency']:.2f} [Naydenova2017].")


def _of_model(part):
    at = part["fsc_0.5_a"]
    agree = f"is 0.5 at {at:.1f} Å" if at else "is below 0.5 at all resolutions"
    words = (f"An atomic model ({part['atoms']} atoms) was brought onto the map, its density computed from electron "
             f"scattering factors, and both compared by FSC within a mask [Brown2015]: it {agree}.")
    if part["mirrored"]:
        words += " The model fits the mirror image of the map better."
    if part["pixel_scan"]:
        words += (f" The model fits best at {part['pixel_scan']['best']:.4f} Å/px, where {part['pixel_size']:.4f} is "
                  "stated.")
    return words

"""Reading the folder of `cryosgd validate` or `cryosgd postprocess`: what its pictures are drawn from."""
from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from ..core.errors import InputError
from .direction_tables import read_cones, read_sampling
from .fsc_star import read_fsc, read_guinier
from .result_folder import CONES, FSC, LOCAL_MAP, MASK, MODEL_FOLDER, POSTPROCESS, SAMPLING, VOLUME, ResultFolder
from .volumes import read_volume


@dataclass(frozen=True)
class LocalMap:
    """volume, mask : (d, d, d) Å at each voxel, and where it is told; window_a : Å; threshold : FSC; whole_a : Å at
    which the whole maps' FSC falls below it"""

    volume: np.ndarray
    mask: np.ndarray
    window_a: float
    threshold: float
    whole_a: float

    @property
    def values(self) -> np.ndarray:
        """(n,) Å of the voxels within the mask (above 0.5)."""
        return self.volume[self.mask > 0.5]


class ValidationFolder(ResultFolder):
    """A finished folder; what a run has not is an InputError with a sentence for the user."""

    def part(self, name: str) -> dict:
        """What the summary says of a part: postprocess, local_resolution, directional, sampling, model."""
        summary = self.summary()
        if summary is None:
            raise InputError("the run is not finished yet; look again in a moment")
        if name == "postprocess" and name not in summary:
            return summary      # of the post-processing alone
        if name not in summary:
            raise InputError("this run has no such part: the half-maps agree nowhere, or what it needs was not "
                             "given, as its outcome says")
        return summary[name]

    def curves(self, of_model=False) -> list:
        """[(label, frequencies in 1/Å, values)] between the half-maps, or between map and model."""
        self.part("model" if of_model else "postprocess")
        frequencies, values = read_fsc(self.folder / (MODEL_FOLDER if of_model else "") / FSC)
        name = "map and" if of_model else "half-maps,"
        return [(f"{name} {word}", frequencies, curve) for word, curve in values.items()]

    def guinier(self) -> tuple:
        """(the Guinier plots with bfactor and fit, keywords box_size and pixel_size), as `draw_guinier` takes them."""
        part = self.part("postprocess")
        if part["bfactor"] is None:
            raise InputError("there is no Guinier plot: the half-maps agree nowhere, so no map was sharpened")
        fit = SimpleNamespace(**part["guinier_fit"]) if part["guinier_fit"] else None
        return (SimpleNamespace(guinier=read_guinier(self.folder / POSTPROCESS), fit=fit, bfactor=part["bfactor"]),
                dict(box_size=part["box_size"], pixel_size=part["pixel_size"]))

    def local(self) -> LocalMap:
        """The local resolution."""
        part = self.part("local_resolution")
        volume, mask = (read_volume(self.folder / name)[0] for name in (LOCAL_MAP, MASK))
        return LocalMap(volume, mask, part["window_a"], part["parameters"]["threshold"], part["whole_a"])

    def sharpened(self) -> tuple:
        """((d, d, d) the sharpened map, Å/px)."""
        return read_volume(self.folder / VOLUME)

    def cones(self):
        """The ConesTable."""
        self.part("directional")
        return read_cones(self.folder / CONES)

    def sampling(self):
        """The SamplingTable."""
        self.part("sampling")
        return read_sampling(self.folder / SAMPLING)

    def pixel_scan(self) -> tuple:
        """(the scan with pixel_sizes, scores and best, the stated Å/px), as `draw_pixel_scan` takes them."""
        part = self.part("model")
        scan = part["pixel_scan"]
        if not scan:
            raise InputError("the pixel size was not scanned; ask for it in the form, among the advanced fields")
        return SimpleNamespace(pixel_sizes=scan["pixel_sizes"], scores=scan["mean_fsc"],
                               best=scan["best"]), part["pixel_size"]

"""How well maps agree, on disk: of the restarts of a run, and of any maps that were compared."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from .result_folder import read_json
from .star_tables import write_table

RESTARTS, RESTARTS_JSON, RESTARTS_FSC = "restarts", "restarts.json", "restarts_fsc.star"
CONSENSUS, CONSENSUS_JSON, CONSENSUS_FSC, CONSENSUS_PNG = (
    "consensus.mrc", "consensus.json", "fsc.star", "consensus.png")


@dataclass(frozen=True)
class Agreement:
    """What was found of n maps of one structure.

    maps : dicts of the report, with name, file, agrees (whether it is of the largest group) and what else was noted
    consensus : path of the mean of the largest group; reference : name of the map whose frame all have
    groups : lists of names, the largest first; verdict : sentences
    curves : {(name, name): (shells,) FSC} of each pair; mean, std : (shells,) over the pairs
    resolution_a : (n, n) Å at FSC 0.5, infinite where a pair does not agree at all, 0 of a map with itself
    extent_a : side of the box in Å; shell s is at s / extent_a 1/Å
    """

    maps: list
    consensus: Path
    reference: str
    groups: list
    verdict: str
    curves: dict
    mean: np.ndarray
    std: np.ndarray
    resolution_a: np.ndarray
    extent_a: float

    @property
    def names(self) -> list:
        """The names of the maps."""
        return [entry["name"] for entry in self.maps]

    @property
    def agree(self) -> bool:
        """Whether any two maps do: else the consensus is one of them."""
        return len(self.groups[0]) > 1

    @property
    def frequencies(self):
        """(shells,) 1/Å."""
        return np.arange(len(self.mean)) / self.extent_a

    @property
    def pair_resolutions_a(self):
        """(pairs,) Å at FSC 0.5, in the order of the curves."""
        return self.resolution_a[np.triu_indices(len(self.maps), 1)]


def agreement_of(report: dict, folder) -> Agreement:
    """The Agreement of a report, which is a consensus' own with maps and consensus as files of the folder."""
    names = [entry["name"] for entry in report["maps"]]
    resolution, curves = np.zeros((len(names), len(names))), {}
    for pair in report["pairs"]:
        i, j = map(names.index, pair["maps"])
        # JSON's null is an infinity that was
        resolution[i, j] = resolution[j, i] = np.inf if pair["resolution_a"] is None else pair["resolution_a"]
        curves[tuple(pair["maps"])] = np.array(pair["fsc"], float)
    folder = Path(folder)
    return Agreement([dict(entry, file=folder / entry["file"]) for entry in report["maps"]],
                     folder / report["consensus"], report["reference"], report["groups"], report["verdict"], curves,
                     np.array(report["mean_fsc"], float), np.array(report["sd_fsc"], float), resolution,
                     report["box_size"] * report["pixel_size"])


def read_agreements(path) -> list:
    """The Agreement of each structure that restarts.json, or consensus.json, tells of.

    Raises InputError where the file is missing or damaged, or another version wrote it.
    """
    report = read_json(path)
    try:
        return [agreement_of(entry, Path(path).parent) for entry in report.get("classes", [report])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} lacks what this version writes of the maps ({type(error).__name__}: {error}); "
                         "run the comparison again") from error


def write_mean_fsc(path, mean, std, *, box_size: int, pixel_size: float) -> None:
    """Write the mean FSC over the pairs of maps and its standard deviation, (shells,) each, as block data_fsc."""
    shells = np.arange(len(mean))
    # not `write_fsc`: it knows the curves of half-maps, and this is a mean over pairs of maps
    write_table(path, {"fsc": {
        "rlnSpectralIndex": shells, "rlnResolution": shells / (box_size * pixel_size),
        "rlnAngstromResolution": np.where(shells > 0, box_size * pixel_size / np.maximum(shells, 1), 999.0),
        "rlnFourierShellCorrelationUnmaskedMaps": mean, "cryosgdFourierShellCorrelationStd": std}})

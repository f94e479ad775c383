"""Which point group a map has: every candidate fitted, and a verdict in words."""
from __future__ import annotations

from dataclasses import dataclass

from .align_group import GroupFit, GroupSearch

# some group is there where its weakest operator leaves the map correlated with itself this much, shell by shell. At 16
# shells asymmetric complexes reached 0.36 (two-folds); symmetric ones 0.99, or 0.5 to 0.8 with noise up to the signal's
# power in the box
PRESENT = 0.45
# others are there with it where they reach this share of it, as noise lowers all true groups alike; those that reach
# less fit only roughly, and below the second share the verdict says so
OF_BEST, IN_DOUBT = 0.8, 0.93
# larger groups are searched where all cyclic groups in them reach this
WORTH_TRYING = 0.3
# share of the power that is not spherical, below which axes are those of the grid and the noise
ROUND = 0.003

_CYCLIC_PARTS = {"T": (2, 3), "O": (2, 3, 4), "I": (2, 3, 5)}
_INSIDE = {"T": ("C2", "C3", "D2"), "O": ("C2", "C3", "C4", "D2", "D3", "D4", "T"),
           "I": ("C2", "C3", "C5", "D2", "D3", "D5", "T")}


@dataclass(frozen=True)
class SymmetryReport:
    """What `find_symmetry` found.

    group : the verdict, "C1" for none; verdict : a sentence; fits : GroupFit of every group searched, in order
    expected : group → score that subgroups and chance alone would give; left_out : groups not searched, as their
    cyclic groups do not fit; uneven : share of the map's power that is not spherical
    """

    group: str
    verdict: str
    fits: tuple
    expected: dict
    left_out: tuple
    uneven: float

    def fit(self, group) -> GroupFit:
        """The fit of one of the groups searched."""
        return next(fit for fit in self.fits if fit.group == group.upper())


def find_symmetry(volume, *, radius: int, max_fold: int = 12, groups=None, progress=None) -> SymmetryReport:
    """Try point groups on a map.

    volume : (d, d, d) float32; radius : Fourier px up to which it is looked at; max_fold : largest n of Cn and Dn
    groups : names to try, instead of C2 … Dn, T, O and I; progress : called with each group's name before its search
    Raises InputError for an empty map or one with NaN, or an unknown group.
    """
    search = GroupSearch(volume, radius)
    fits, left_out = {}, []

    def fit(name):
        if progress is not None:
            progress(name)
        fits[name] = search.fit(name)

    if groups is not None:
        for name in groups:
            fit(name.upper())
    else:
        for fold in range(2, max_fold + 1):
            fit(f"C{fold}")
        for name in [f"D{fold}" for fold in range(2, max_fold + 1)] + ["T", "O", "I"]:
            parts = [fits.get(f"C{fold}") for fold in _CYCLIC_PARTS.get(name, (2, int(name[1:] or 0)))]
            if all(part is not None and part.weakest >= WORTH_TRYING for part in parts):
                fit(name)
            else:
                left_out.append(name)
    group, verdict = _judge(fits, search.uneven)
    return SymmetryReport(group, verdict, tuple(fits.values()), {name: _expected(name, fits) for name in fits},
                          tuple(left_out), search.uneven)


def is_subgroup(small: str, large: str) -> bool:
    """Whether a rotated copy of `small` lies in `large` and is not all of it (C1 lies in all others)."""
    small, large = (name.upper().replace("I2", "I") for name in (small, large))
    if small == large:
        return False
    if small == "C1":
        return True
    if large in _INSIDE:
        return small in _INSIDE[large]
    if small[0] not in "CD" or (small[0] == "D" and large[0] == "C"):
        return False
    n, m = int(small[1:]), int(large[1:])
    return m % n == 0 or (small == "C2" and large[0] == "D")


def _expected(name, fits):
    """The score that the operators of the best subgroup would give alone, all others uncorrelated."""
    order = fits[name].order
    shares = [fits[small].score * fits[small].order for small in fits
              if is_subgroup(small, name) and fits[small].weakest >= PRESENT]
    return max(shares, default=1.0) / order


def _judge(fits, uneven):
    """(group, sentence)."""
    if uneven < ROUND:
        return "C1", (f"The map is too round to tell: only {uneven:.2%} of its power is not spherical. "
                      "Go to a higher resolution, or give the group from other knowledge.")
    top = max(fits, key=lambda name: fits[name].weakest)
    best = fits[top].weakest
    present = [name for name in fits if best >= PRESENT and fits[name].weakest >= OF_BEST * best]
    rough = [name for name in fits if fits[name].weakest >= PRESENT and name not in present]
    if not present:
        if best < 0.8 * PRESENT:
            return "C1", (f"No point group fits: the best, {top}, leaves the map correlated with itself by only "
                          f"{best:.2f} (a group that is there gives {PRESENT:g} to 1). Use C1, or try again with a "
                          "coarser resolution if the map is noisy.")
        return "C1", (f"No point group fits well: {top} comes nearest with a correlation of {best:.2f}, which a "
                      "pseudo-symmetric or a noisy map gives. Use C1, and compare with a coarser resolution.")
    group = max(present, key=lambda name: (fits[name].order, fits[name].weakest))
    sentence = (f"{group} fits: under its weakest operator the map still correlates with itself by "
                f"{fits[group].weakest:.2f}, shell by shell.")
    rivals = [name for name in present if name != group and not is_subgroup(name, group)]
    if rivals:
        sentence += (f" {_listed(rivals)} {'fits' if len(rivals) == 1 else 'fit'} as well and no group tried holds "
                     "both: look at the map, or go to a finer resolution.")
    if fits[group].weakest < IN_DOUBT * best:
        sentence += (f" {top} fits better ({best:.2f}), so {group} may be a pseudo-symmetry: compare the "
                     "two with a finer resolution.")
    above = [name for name in rough if is_subgroup(group, name)]
    if above:
        worst = fits[above[-1]].weakest
        sentence += (f" {_listed(above)} {'fits' if len(above) == 1 else 'fit'} only roughly ({worst:.2f}): "
                     "a pseudo-symmetry, not to be imposed.")
    return group, sentence


def _listed(names):
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]

"""What a user should hear of a refinement's form that is valid, but seldom what was meant."""
from __future__ import annotations

from ..engines.refine.config import RefineConfig
from ..engines.refine.halves import odd_halves_warning
from .ab_initio_advice import on_box

# finer than this, a reference's own details survive the low-pass
FINE_START_A = 20.0


def advice(config: RefineConfig, half_sets, files) -> list:
    """Sentences, or [].

    half_sets : the different half-set numbers of the particles; files : names of the references' files
    """
    found = [on_box(config), _on_start(config), _on_search(config), _on_references(files)]
    penalties = config.sparse_tv.unusual() if config.regularisation == "sparse-tv" else []
    return odd_halves_warning(half_sets) + [sentence for sentence in found if sentence] + penalties


def _on_start(config):
    if config.initial_resolution_a >= FINE_START_A:
        return None
    return (f"The references keep their details down to {config.initial_resolution_a:g} Å, and both halves begin with "
            "them: what is coarser than that is no evidence of the resolution. 30 Å suits most particles.")


def _on_search(config):
    if config.search != "exhaustive":
        return None
    return ("Every pose of the grids will be evaluated, which takes many times longer than branch and bound and is "
            "there for comparison.")


def _on_references(files):
    twice = sorted({file for file in files if files.count(file) > 1})
    if not twice:
        return None
    return (f"The map {', '.join(twice)} is given more than once: classes that begin alike can't part. Give "
            "different maps, of ab initio classes for example, or one map and a number of classes.")

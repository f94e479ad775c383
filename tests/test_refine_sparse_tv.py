"""A refinement with sparse + total-variation maps: the same run but for the references."""
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import angular_distance_deg
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.engines.refine.engine import Refinement
from cryosgd_plugin.engines.refine.regularise import SparseTV
from cryosgd_plugin.engines.sparse_tv.config import SparseTVConfig
from cryosgd_plugin.engines.sparse_tv.solver import EmptyMap
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.job.refine_summary import sparse_words, warned
from cryosgd_plugin.ops.slicing import half_volume_shape, hermitian
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, density, particles
from cryosgd_plugin.tests.test_refine import CONFIG, refined
from cryosgd_plugin.tests.test_refine_job import command, data  # noqa: F401

SPARSE = replace(CONFIG, regularisation="sparse-tv", iterations=2, certificate_share=0)


@pytest.fixture(scope="module")
def run():
    return refined(config=SPARSE)


def test_it_converges_and_says_what_its_maps_are(run):
    engine, records, table = run
    assert np.median(angular_distance_deg(engine.results.rotations, table.rotations)) < 4
    assert np.all(fsc(engine.whole[0] * engine.sphere, density(), mask=engine.sphere)[1:8] > 0.9)
    said = records[-1]["sparse_tv"]
    assert np.shape(said["penalties"]) == (2, 1, 2) and len(said["maps"]) == 2
    assert all(one["variation"] < 0.9 and one["gap"] < 0.1 for one in said["maps"] + said["whole"])
    assert records[-1]["warnings"] == [] and "fsc_regularised" not in records[0]["sparse_tv"]
    # regularised halves agree farther than those whose resolution is told
    high = slice(8, BOX // 2)
    assert np.mean(said["fsc_regularised"][0][high]) > np.mean(engine.curves[0].masked[high]) + 0.1


def test_resolution_is_that_of_unregularised_halves(run):
    """What the record claims is the FSC of `halves`, which hold noise where the references are empty."""
    engine, records, _ = run
    outside = engine.sphere < 0.01
    assert np.abs(engine.halves[0, 0][outside]).std() > 5 * np.abs(engine.references[0, 0][outside]).std()
    np.testing.assert_allclose(engine.curves[0].unmasked, fsc(*engine.halves[:, 0]), atol=1e-5)


def test_the_mask_is_that_of_wieners_maps_in_either_mode():
    """Two runs that differ in the regularisation see the same mask, as long as they see the same poses."""
    table = particles(60, noise_sd=0.15, seed=3)[1]
    masks, references = [], []
    for method in ("wiener", "sparse-tv"):
        config = replace(SPARSE, regularisation=method, mask="dynamic")
        engine = Refinement(config, replace(table, rotations=None, shifts_a=None),
                            particles(60, noise_sd=0.15, seed=3)[0], [density()])
        next(engine.steps())
        masks.append(engine.mask)
        references.append(engine.references)
    np.testing.assert_array_equal(*masks)
    assert np.abs(references[0] - references[1]).max() > 0


def test_it_goes_on_from_its_state(run):
    engine, _, table = run
    again = Refinement(SPARSE, replace(table, rotations=None, shifts_a=None), engine.source, [density()])
    steps = again.steps()
    next(steps)
    state = {name: np.array(value) for name, value in again.state().items()}
    other = Refinement(SPARSE, replace(table, rotations=None, shifts_a=None), engine.source, [density()])
    other.restore(state)
    next(steps)
    next(other.steps())
    np.testing.assert_array_equal(again.references, other.references)


def test_penalties_that_empty_the_map_end_the_run_at_its_first_map():
    with pytest.raises(InputError, match="leave nothing of the map"):
        refined(config=replace(SPARSE, alpha=300.0, beta=1.0), n=60)


def test_half_of_a_choice_is_refused():
    with pytest.raises(InputError, match="chosen together"):
        replace(SPARSE, alpha=0.5)
    with pytest.raises(InputError, match="is negative"):
        replace(SPARSE, alpha=-0.5, beta=1.0)
    with pytest.raises(InputError, match="ε of 0.0 is not positive"):
        replace(SPARSE, epsilon=0.0)


# ---- penalties that leave next to nothing
class Maps:
    """What an iteration hands to a regulariser: half-maps of white noise of a tenth, and sums that weigh alike."""

    def __init__(self, classes=1, seed=0):
        rng = np.random.default_rng(seed)
        self.radius = BOX // 2 - 1
        truth = np.stack([density()] * classes)
        self.halves = (truth + 0.1 * rng.standard_normal((2,) + truth.shape)).astype(np.float32)
        weights = [hermitian(np.full(half_volume_shape(self.radius), 8.0, np.float32))] * classes
        self.sums = [SimpleNamespace(weight=weights)] * 2
        self.curves = np.tile(np.clip(1.2 - np.arange(BOX // 2 + 1) / 8, 0.02, 0.99), (classes, 1))
        self.wiener = self.halves.copy()
        self.mask = (truth[0] > 0.1).astype(np.float32)

    def to(self, regulariser, last=False, **changed):
        return regulariser.halves(changed.get("wiener", self.wiener), self.sums, changed.get("halves", self.halves),
                                  self.curves, self.radius, self.mask, last)


def regulariser(maps, chosen=False, **values):
    config = SparseTVConfig(**{**dict(alpha=0.1, beta=0.1, gamma=0.0), **values})
    return SparseTV(config, chosen, pixel_size=PIXEL, diameter_a=140.0, classes=len(maps.curves),
                    operators=np.eye(3)[None], seed=0, threads=1)


def test_wieners_map_stands_in_for_one_that_is_nearly_empty_and_the_record_says_so():
    maps = Maps()
    of_run = regulariser(maps)
    usual = maps.to(of_run)
    assert np.all((usual == 0).mean(axis=(1, 2, 3, 4)) > 0.1) and of_run.record()["warnings"] == []
    # by its second iteration half 2 would be emptied
    of_run.penalties[1] = 300.0, 1.0
    found = maps.to(of_run)
    np.testing.assert_array_equal(found[1], maps.wiener[1])
    np.testing.assert_array_equal(found[0], usual[0])
    record = of_run.record()
    assert record["sparse_tv"]["maps"][0]["zeros"] > 0.1 and record["sparse_tv"]["maps"][1] is None
    (said,) = record["warnings"]
    assert said.startswith("Wiener's map stands in for the sparse and smooth one of half 2: the penalties α 300")
    # and bounds and γ of the next iteration go by the map that was used
    np.testing.assert_array_equal(of_run.previous[1], maps.wiener[1])


def test_a_map_of_a_fraction_of_the_density_does_not_drive_the_alignment():
    """Not empty, but weaker by so much that particles hardly tell its orientations apart."""
    maps = Maps()
    of_run = regulariser(maps, epsilon=0.3)
    maps.to(of_run)
    strong = np.float32(20) * maps.wiener
    np.testing.assert_array_equal(maps.to(of_run, wiener=strong), strong)
    said = of_run.record()["warnings"]
    assert len(said) == 2 and all("% of the density that Wiener's map has" in one for one in said), said


def test_penalties_that_empty_all_first_maps_are_refused_and_those_of_one_class_are_not():
    maps = Maps(classes=2)
    of_run = regulariser(maps, alpha=300.0, beta=1.0)
    with pytest.raises(EmptyMap, match="α 300 and β 1 leave nothing of the map"):
        maps.to(of_run)
    of_run = regulariser(maps)
    of_run.penalties[:, 1] = 300.0, 1.0
    found = maps.to(of_run)
    np.testing.assert_array_equal(found[:, 1], maps.wiener[:, 1])
    said = of_run.record()["warnings"]
    assert [one.split(":")[0].split(" of ", 1)[1] for one in said] == ["half 1 of class 2", "half 2 of class 2"]


def test_a_class_without_data_or_density_gets_wieners_map_and_nan_ends_the_run():
    maps = Maps(classes=2)
    empty = maps.wiener.copy()
    empty[:, 1] = 0
    of_run = regulariser(maps)
    np.testing.assert_array_equal(maps.to(of_run, wiener=empty)[:, 1], empty[:, 1])
    assert all("no density above its background" in one for one in of_run.record()["warnings"])
    broken = maps.halves.copy()
    broken[0, 0, 1, 1, :2] = np.nan
    with pytest.raises(InputError, match="2 values of the map are not finite"):
        maps.to(regulariser(maps), halves=broken)


def test_the_map_of_both_halves_may_be_wieners_and_the_summary_says_so():
    maps = Maps()
    of_run = regulariser(maps)
    maps.to(of_run, last=True)
    both = maps.halves.mean(axis=0), [2 * maps.sums[0].weight[0]]
    for empties in (False, True):
        of_run.penalties[:] = (300.0, 1.0) if empties else (0.1, 0.1)
        found = of_run.whole(maps.wiener[0], *both, maps.curves, maps.radius, maps.mask, last=True)
        record = dict(iteration=7, **of_run.record())
        assert np.array_equal(found, maps.wiener[0]) == empties
        (words,) = sparse_words(record)
        assert ("is Wiener's" if empties else "of its voxels are empty") in words
    assert "of both halves: the penalties" in record["warnings"][-1]
    # the curve that is no measure of resolution is there to be shown as such
    (curve,) = record["sparse_tv"]["fsc_regularised"]
    assert len(curve) == BOX // 2 + 1


def test_an_epsilon_in_other_units_is_told_at_the_first_map():
    maps = Maps()
    of_run = regulariser(maps, epsilon=1e-4)
    maps.to(of_run)
    (said,) = of_run.record()["warnings"]
    assert said.startswith("ε 0.0001 is ") and "times the density level of the map" in said
    maps.to(of_run)
    assert of_run.record()["warnings"] == []


def test_what_iterations_warned_of_is_summed_up():
    stands = "Wiener's map stands in for the sparse and smooth one of half 1: the penalties leave"
    history = [dict(iteration=1, warnings=[f"{stands} 1 %."]), dict(iteration=2), dict(iteration=3, warnings=[
        f"{stands} 2 %.", "ε 5 is 50 times the density level."])]
    assert warned(history) == [f"Iteration 3 and 1 before: {stands} 2 %.",
                               "Iteration 3: ε 5 is 50 times the density level."]
    assert sparse_words(dict(iteration=1)) == []


def test_a_run_prints_its_warnings_and_keeps_them_with_both_curves(data, tmp_path, capsys):  # noqa: F811
    assert command(data, tmp_path / "out", "--regularisation", "sparse-tv", "--alpha", "0.1", "--beta", "0.1",
                   "--epsilon", "1e-4", "--gamma", "5", "--max-particles", "60", "--certificate-share", "0") == 0
    printed = capsys.readouterr().out
    results = ResultFolder(tmp_path / "out")
    history, summary = results.history(), results.summary()
    (said,) = history[0]["warnings"]
    assert said.startswith("ε 0.0001 is ") and f"Warning: {said}" in printed
    assert f"Iteration 1: {said}" in summary["warnings"]
    assert any(one.startswith("γ 5 is far from what is usual") for one in summary["warnings"])
    last = history[-1]["sparse_tv"]
    assert summary["sparse_tv"] == last and len(last["fsc_regularised"][0]) == BOX // 2 + 1
    assert "The map is sparse and smooth (half 1: α 0.1, β 0.1; half 2" in summary["outcome"]
    assert (tmp_path / "out" / "pictures" / "fsc.png").stat().st_size > 1000

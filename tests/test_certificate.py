"""The certificate says what a bounded search lost, and costs no more than its share."""
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.engines.abinitio import grids
from cryosgd_plugin.engines.refine import search as search_module
from cryosgd_plugin.engines.refine.certificate import BOUNDED_COST, EVERY, CertificatePlan, as_record, certify
from cryosgd_plugin.engines.refine.search import BoundedSearch
from cryosgd_plugin.io.certificate_picture import draw_certificate, save_certificate_png
from cryosgd_plugin.job.refine_summary import certificate_words, pooled
from cryosgd_plugin.tests.refine_samples import CERTIFICATE
from cryosgd_plugin.tests.run_samples import new_figure
from cryosgd_plugin.tests.test_bounded_search import sample
from cryosgd_plugin.tests.test_expectation import noise
from cryosgd_plugin.tests.test_refine import CONFIG, refined

C1 = point_group("C1")


def searches(levels, **options):
    radius = levels[-1].grid.polar.radius
    return [BoundedSearch(levels, shrinkage=np.ones((1, radius + 1)), rng=np.random.default_rng(0),
                          exhaustive=exhaustive, **({} if exhaustive else options)) for exhaustive in (False, True)]


def certified(noise_sd, **options):
    levels, images, table = sample(noise_sd)
    return levels, certify(*searches(levels, **options), images, table, np.arange(len(images)), noise(), C1)


def test_a_sound_search_is_certified():
    levels, result = certified(0.1)
    assert result.same.all() and result.lost.max() < 0.1 and result.covered.min() > 0.99
    assert not result.above_bound.any() and result.above_bound.shape == (len(result.same), 1)
    assert result.pruned.mean() > 0.9


def test_a_bound_without_room_for_noise_is_found_out(monkeypatch):
    """With the deviations and the cells taken away, best poses score more than they were said to be able to."""
    monkeypatch.setattr(search_module.LevelBound, "of", without_cells(search_module.LevelBound.of))
    _, result = certified(0.1, deviations=1e-6, soft_margin=0.0)
    assert result.above_bound.any()
    assert not result.same.all() or result.covered.min() < 0.99


def without_cells(of):
    def bare(bound, ctf_power):
        whole = of(bound, ctf_power)
        return replace(whole, tail=whole.tail - np.abs(whole.tail) - 50, cell=0 * whole.cell)
    return bare


def test_the_ceiling_of_a_cell_is_the_one_it_was_pruned_by():
    levels, images, table = sample(0.4)
    bounded, exhaustive = searches(levels)
    rows = np.arange(len(images))
    exact = exhaustive.run(images, table, rows, noise())
    n_shifts = len(levels[-1].grid.shifts_a)
    pairs = np.array([one.rows[0] * n_shifts + one.shifts[0] for one in exact])
    ceilings = bounded.ceilings(images, table, rows, noise(), pairs)
    # the best pose of the grid lies in a cell whose bound is above its score, and not absurdly far above
    gap = ceilings[:, 0] - [one.scores[0] for one in exact]
    assert np.all(gap > 0) and np.median(gap) < 200
    cells = bounded._cells[0]
    for pair in pairs:
        assert pair in cells.children(cells.parents(pair[None]))


# ---- what it costs
def test_the_plan_spends_no_more_than_it_earned():
    levels, _, _ = sample(0.4)
    grid, n_rows = levels[-1].grid, levels[-1].n_rows
    poses = n_rows * grid.polar.n_angles * len(grid.shifts_a)
    plan = CertificatePlan(0.05 / BOUNDED_COST)
    assert plan.spend(grid, n_rows, EVERY - 1, 0, False) == 0
    plan.earn(20 * 10 * poses)
    assert plan.spend(grid, n_rows, 0, 0, False) == 0
    assert plan.spend(grid, n_rows, EVERY - 1, 1, False) == 0
    count = plan.spend(grid, n_rows, EVERY - 1, 0, False)
    assert 8 <= count < 10 and 0 <= plan.budget < poses
    plan.earn(20 * 10 * poses)
    assert plan.spend(grid, n_rows, 2 * EVERY - 1, 0, False) == 0
    assert plan.spend(grid, n_rows, 2 * EVERY - 1, 1, False, most=3) == 3
    plan.budget, groups = 10 * poses, 1 + 20 * poses // (n_rows * grid.polar.radius * grid.polar.n_angles)
    assert plan.spend(grid, n_rows, 2 * EVERY - 1, 1, False, groups=groups) == 0


def test_poses_in_a_row_earn_what_they_cost():
    """What a search of one level scores is scored as cheaply as by the exhaustive one."""
    plan = CertificatePlan(0.05)
    plan.earn(1000, bounded=False)
    assert plan.budget == 50
    plan.earn(1000)
    assert plan.budget == 50 + 50 * BOUNDED_COST


def test_no_share_no_certificate():
    plan = CertificatePlan(0)
    plan.earn(10 ** 12)
    levels, _, _ = sample(0.4)
    assert plan.spend(levels[-1].grid, levels[-1].n_rows, 2, 0, True) == 0


# ---- in a run
@pytest.fixture(scope="module", autouse=True)
def several_levels():
    """A grid as small as this set's would be summed in full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids, "FULL_SUM_NSIDE", 2)
        yield


@pytest.fixture(scope="module")
def run(several_levels):
    return refined(n=160, config=replace(CONFIG, initial_resolution_a=30.0, certificate_share=0.5, iterations=3))


def test_a_run_has_its_certificate(run):
    engine, records, _ = run
    parts = [record["certificate"] for record in records if record["certificate"]]
    assert parts, [record["radius"] for record in records]
    assert json.dumps(parts)
    found = pooled(records)
    assert found["images"] == sum(part["images"] for part in parts) > 3
    assert found["same_share"] > 0.9 and found["above_bound"] <= 0.05 * found["bounds"]
    assert found["covered"]["mean"] > 0.9
    words = certificate_words(found)[0]
    assert f"{found['images']} images were also searched exhaustively" in words and "too few" not in words
    above = f"{found['above_bound']} of {found['bounds']} best poses scored more than their bound"
    assert f"{above}, of which it allows for" in words
    assert found["above_expected"] == pytest.approx((1e-3 + norm.sf(4)) * found["bounds"])
    assert "too few" in certificate_words(dict(found, same_share=0.5))[0]
    assert "too few" not in certificate_words(dict(found, images=600, same_share=597 / 600))[0]
    assert "too few" in certificate_words(dict(found, images=600, same_share=590 / 600))[0]


def test_the_certificate_changes_no_map(run):
    engine, _, _ = run
    other, records, _ = refined(n=160, config=replace(engine.config, certificate_share=0.0))
    assert np.array_equal(other.whole, engine.whole) and not any(record["certificate"] for record in records)
    assert pooled(records) is None and certificate_words(None) == []


def test_its_picture(run, tmp_path):
    _, records, _ = run
    save_certificate_png(records, tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 5000
    with pytest.raises(InputError, match="holds no certificate"):
        draw_certificate(None, [dict(iteration=1, certificate=None)])


def test_what_a_limit_left_out_is_not_drawn_as_pruned():
    figure = new_figure()
    draw_certificate(figure, [dict(iteration=3, certificate=CERTIFICATE)])
    bound, with_limit = figure.axes[2].lines
    np.testing.assert_allclose(bound.get_ydata(), [90, 98])
    np.testing.assert_allclose(with_limit.get_ydata(), [90, 99])
    assert "limit" in with_limit.get_label()
    assert with_limit.get_markerfacecolor() == "none" != bound.get_markerfacecolor(), "one level has no lines"
    # the history of a run of before
    draw_certificate(figure, [dict(iteration=3, certificate={name: value for name, value in CERTIFICATE.items()
                                                             if name != "cut"})])
    assert len(figure.axes[2].lines) == 1


def test_pooled_counts_levels_from_the_finest():
    def one(pruned):
        part = dict(images=2, same=2, lost_nats=[0, 0], covered=[1, 1], above_bound=0, bounds=2, pruned=pruned,
                    cut=[0.1 * share for share in pruned], scored_share=0.1, seconds=1.0)
        return dict(certificate=part, seconds=10.0)

    assert pooled([one([0.9]), one([0.5, 0.7])])["pruned"] == pytest.approx([0.8])
    assert pooled([one([0.9]), one([0.5, 0.7])])["cut"] == pytest.approx([0.08])
    assert pooled([one([0.9])])["time_share"] == pytest.approx(0.1)
    assert as_record([certified(0.1)[1]], 10 ** 6, 1.0, 1e-3)["images"] == 24

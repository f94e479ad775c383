"""The benchmarks of the sparse + total-variation map, on problems of seconds: every variant is made, and is another."""
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.tests.test_benchmarks import benchmark  # noqa: F401


def test_the_ablations_make_every_variant(benchmark, tmp_path, monkeypatch):  # noqa: F811
    common, sparse_tv = benchmark("_common"), benchmark("sparse_tv")
    particles = common.simulated(tmp_path / "set", "--particles", 60, "--box", 32, "--pixel-size", 8, "--snr", 0.5,
                                 "--threads", 1)
    for name, (config, alphas, betas, prior, kernel) in list(sparse_tv.ABLATIONS.items()):
        fewer = [levels and (2.0,) for levels in (alphas, betas)]
        monkeypatch.setitem(sparse_tv.ABLATIONS, name, (
            replace(config, iterations=6, reweightings=2), *fewer, prior, kernel))
    monkeypatch.setattr(sparse_tv, "CHOSEN", replace(sparse_tv.CHOSEN, iterations=6, reweightings=2))
    maps, facts = sparse_tv.ablated(particles, 1)
    wanted = {"traditional", "Wiener, Gaussian kernel", "both", "ℓ1 only", "TV only", "convex", "Gaussian kernel",
              "γ 0.05", "γ 0.2", "without prior", "paper's α 0.5, β 1.6, no prior"}
    assert set(maps) == wanted and set(facts) == wanted - {"traditional"}
    assert facts["TV only"]["alpha"] == 0 and facts["ℓ1 only"]["beta"] == 0
    flat = np.stack([volume.ravel() / np.linalg.norm(volume) for volume in maps.values()])
    np.testing.assert_array_less(np.abs(flat @ flat.T - np.eye(len(flat))).max(), 1 - 1e-7)
    truth = particles.truths[0]
    assert all(np.corrcoef(volume.ravel(), truth.ravel())[0, 1] > 0.4 for volume in maps.values())


def test_the_solver_is_timed_against_what_the_machine_can_move(benchmark, tmp_path):  # noqa: F811
    solver = benchmark("sparse_tv_solver")
    report = benchmark("_common").Report("solver", tmp_path, "")
    data, epsilon = solver.problem(24, 1)
    gaps = solver.run(report, "1 thread", data, epsilon, "fista", 10.0, 0.1)
    (row,) = report.rows
    assert gaps[-1] == row["gap"] <= solver.GAP and len(gaps) == row["iterations"] < 400
    assert row["gb_per_s"] * row["seconds"] == pytest.approx(row["iterations"] * row["gb_per_iteration"])
    assert row["gb_per_iteration"] == solver.MAP_PASSES * 4 * 24 ** 3 / 1e9

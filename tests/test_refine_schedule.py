"""How far a refinement looks in each iteration, how many particles it uses, and when it ends."""
import numpy as np
import pytest

from cryosgd_plugin.core.poses import angular_distance_deg
from cryosgd_plugin.engines.refine import schedule
from cryosgd_plugin.engines.refine.schedule import Convergence, grown, next_radius, radius_of_maps
from cryosgd_plugin.tests.test_refine import refined


def test_radius_follows_the_fsc():
    curve = np.ones(33)
    curve[12:] = 0.05
    assert next_radius(curve, 20, 6, 64) == 13
    assert next_radius(np.ones(33), 20, 6, 64) == 22
    assert next_radius(np.zeros(33), 20, 6, 64) == 6
    curve[[1, 5]] = 0.05  # a zero of the CTF
    assert next_radius(curve, 20, 6, 64) == 13
    assert radius_of_maps(10, 64, False) == 18 and radius_of_maps(10, 64, True) == 31


def test_it_ends_when_nothing_gets_better():
    watch = Convergence(20, 240.0)
    base = dict(change_deg=1.0, width_deg=1.0, edge_deg=9.0)
    for number, resolution in enumerate((20.0, 15.0, 15.0), 1):
        watch.note(dict(base, iteration=number, resolutions_a=[resolution]))
        assert not watch.last
    watch.note(dict(base, iteration=4, resolutions_a=[15.1]))
    assert watch.last and not watch.done and "no longer" in watch.reason
    watch.note(dict(base, iteration=5, resolutions_a=[15.0]))
    assert watch.done


@pytest.mark.parametrize("change, edge, ends", [(1.0, 9.0, True), (1.0, 3.0, False), (0.8, 3.0, True)])
def test_broad_poses_settle_by_what_the_particles_edge_moves(change, edge, ends):
    watch = Convergence(20, 240.0)
    for resolution in (15.0, 15.0):
        watch.note(dict(change_deg=change, width_deg=5.0, edge_deg=edge, resolutions_a=[resolution]))
    assert watch.last == ends


def test_small_gains_add_up_and_each_class_counts():
    moving = dict(change_deg=5.0, width_deg=1.0, edge_deg=9.0)
    watch = Convergence(20, 240.0)
    for number in range(12):
        watch.note(dict(moving, resolutions_a=[240 / (12 + 0.45 * number)]))
        assert not watch.last
    watch = Convergence(20, 240.0, classes=2)
    for number in range(8):
        watch.note(dict(moving, change_class=0.0, resolutions_a=[8.0, 20.0 - number]))
        assert not watch.last
    for _ in range(2):
        watch.note(dict(moving, change_class=0.0, resolutions_a=[8.0, 13.0]))
    assert watch.last
    never = Convergence(20, 240.0)
    for _ in range(2):
        never.note(dict(moving, resolutions_a=[np.inf]))
    assert never.last and "no longer got better" in never.reason


def test_iterations_are_limited():
    watch = Convergence(2, 240.0)
    for number, resolution in enumerate((20.0, 15.0), 1):
        watch.note(dict(iteration=number, resolutions_a=[resolution], change_deg=5.0, width_deg=1.0, edge_deg=9.0))
    assert watch.last and "2 iterations" in watch.reason


# ---- samples of the particles
def test_samples_grow_until_all_particles_are_used():
    watch = Convergence(20, 240.0, n_half=3000)
    record = dict(change_deg=5.0, width_deg=1.0, edge_deg=9.0, resolutions_a=[20.0])
    assert watch.sample == 300
    watch.note(record, 10)
    watch.note(record, 11)      # the radius grows, though the resolution does not
    watch.note(record, 11)
    assert watch.sample == 300
    watch.note(record, 11)
    assert watch.sample == 900
    again = Convergence(20, 240.0, n_half=3000)
    again.restore(watch.state())
    assert again.state() == watch.state()
    watch.note(record, 11)
    watch.note(record, 11)
    assert watch.sample == 0 and not watch.last
    watch.note(record, 11)
    watch.note(record, 11)
    assert watch.last and watch.whole == 2


def test_small_sets_and_known_poses_have_no_samples():
    assert Convergence(20, 240.0, n_half=400).sample == 0 and Convergence(20, 240.0).sample == 0
    assert Convergence(20, 240.0, n_half=2000, classes=3).sample == 900
    watch = Convergence(20, 240.0, n_half=10 ** 6)
    for number in range(100):
        watch.note(dict(change_deg=5.0, width_deg=1.0, edge_deg=9.0, resolutions_a=[20.0 - 0.15 * number]), number)
        if not watch.sample:
            break
    assert number == 39 and not watch.last


def test_the_radius_grows_slowly_with_samples():
    assert grown(9, True) == 10 and grown(30, True) == 33
    assert grown(9, False) == 11 and grown(40, False) == 50


def test_a_run_with_samples_poses_every_particle_at_the_end(monkeypatch):
    monkeypatch.setattr(schedule, "FIRST_SAMPLE", 40)
    engine, records, table = refined(n=200)
    assert [records[0]["n_images"], records[-1]["n_images"]] == [80, 200]
    assert engine.results.posed.all() and np.ptp(engine.results.log_gain) > 0
    assert np.median(angular_distance_deg(engine.results.rotations, table.rotations)) < 4
    radii = [record["radius"] for record in records]
    assert all(b <= grown(a, record["n_images"] < 200) for a, b, record in zip(radii, radii[1:], records))

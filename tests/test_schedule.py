"""What a run's schedule says at each share of the run, against values worked out by hand."""
import numpy as np
import pytest

from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.engines.abinitio.schedule import (
    Progress,
    adapt_inflation,
    minibatch_at,
    resolution_at,
    similarity_at,
    step_size_at,
    target_share_at,
)


def config(**change):
    return AbInitioConfig(**{**dict(pixel_size=4.0, box_size=64, diameter_a=180.0, initial_resolution_a=45.0,
                                    final_resolution_a=10.0), **change})


def test_the_resolution_marches_evenly_in_spatial_frequency():
    found = [resolution_at(p, config()) for p in (0.0, 0.1, 0.475, 0.85, 1.0)]
    assert found == pytest.approx([45, 45, 360 / 22, 10, 10])  # half-way (1/45 + 1/10) / 2 = 22/360 per Å


def test_step_sizes_fall_geometrically():
    found = [step_size_at(p, config(step_size=(0.8, 0.2))) for p in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([0.8, 0.4, 0.2])


def test_class_similarity_fades_while_the_resolution_marches():
    shares = (0.0, 0.425, 0.85, 1.0)
    found = [similarity_at(p, config(classes=2, class_similarity=0.6)) for p in shares]
    assert found == pytest.approx([0.6, 0.3, 0, 0])
    assert [similarity_at(p, config(class_similarity=0.6)) for p in shares] == [0, 0, 0, 0]  # one class is like itself


def test_the_share_of_poses_aimed_at_falls_by_eight_decades():
    found = [target_share_at(p, config(significant_poses=0.02)) for p in (0.0, 0.425, 0.85)]
    assert found == pytest.approx([2e-2, 2e-6, 2e-10], rel=1e-9)
    assert target_share_at(1.0, config()) < 1e-10


def test_noise_inflation_follows_the_share_in_bounded_steps():
    assert adapt_inflation(5.0, share=0.02, target=0.01) == pytest.approx(5 * 0.5 ** 0.3)
    assert adapt_inflation(5.0, share=0.01, target=0.02) == pytest.approx(5 * 2 ** 0.3)
    assert adapt_inflation(5.0, share=1.0, target=1e-6) == pytest.approx(3.5)
    assert adapt_inflation(5.0, share=1e-9, target=0.01) == pytest.approx(7.0)
    assert adapt_inflation(9e3, share=1e-9, target=0.01) == 1e4 and adapt_inflation(1.1, share=1.0, target=0.01) == 1


@pytest.mark.parametrize("least, most", [(1e-7, 0.5), (0.9, 0.9), (1e-7, 1e-7)],
                         ids=["usual images", "images that say nothing", "images that say all"])
def test_noise_inflation_ends_at_one(least, most):
    """Whatever the images say, inflation is off before the run ends; of usual ones it first holds the share that it
    aims at."""
    settings, inflation, followed = config(iterations=150), 30.0, []
    for iteration in range(settings.iterations):
        progress = iteration / (settings.iterations - 1)
        share = np.clip(1e-6 * inflation ** 2, least, most)
        target = target_share_at(progress, settings)
        followed.append((progress, inflation, share / target))
        inflation = adapt_inflation(inflation, share, target)
    progress, inflations, ratio = np.array(followed).T
    if least < most:
        early = (progress > 0.1) & (progress < 0.3)
        assert inflations[early].min() > 1 and np.abs(np.log10(ratio[early])).max() < 0.5
    assert (inflations[progress > 0.95] == 1).all()


def test_minibatches_grow_with_resolution_and_classes():
    """Five images for each element of the particle's diameter, 60 to 300, for each class (paper 0 §0.1)."""
    assert [minibatch_at(p, config()) for p in (0.0, 0.85, 1.0)] == [60, 90, 90]  # 5 · 180 / 45 = 20, 5 · 180 / 10
    assert [minibatch_at(p, config(classes=3)) for p in (0.0, 1.0)] == [180, 270]
    fine = dict(pixel_size=1.5, box_size=256, diameter_a=360.0, final_resolution_a=4.0)
    assert [minibatch_at(1.0, config(classes=k, **fine)) for k in (1, 2)] == [300, 600]  # 5 · 360 / 4 = 450
    assert [minibatch_at(p, config(classes=3, minibatch=(20, 60))) for p in (0.0, 0.25, 1.0)] == [20, 30, 60]


def walk(progress, improved):
    """Values of a Progress until it is done, each judged by improved(value)."""
    values = []
    while not progress.done:
        values.append(progress.value)
        progress.judge(improved(progress.value))
        progress.advance()
        assert len(values) < 1000
    return np.array(values)


@pytest.mark.parametrize("improved", [True, False])
def test_by_iterations_the_march_heeds_no_judgement(improved):
    values = walk(Progress(101, by_need=False), lambda value: improved)
    np.testing.assert_allclose(values, np.linspace(0, 1, 101), atol=1e-12)


def test_by_need_stages_last_half_to_twice_their_even_length():
    """16 stages share 75 of 101 iterations, 4.69 each: 3 at least, 10 at most; the rests are left as they are."""
    for improved, length in ((False, 3), (True, 10)):
        values = walk(Progress(101, by_need=True), lambda value, improved=improved: improved)
        stages, counts = np.unique(values[(values >= 0.1) & (values < 0.85)], return_counts=True)
        assert len(stages) == 16 and set(counts) == {length}
        np.testing.assert_allclose(np.diff(stages), 0.75 / 16)
        assert (values < 0.1).sum() == pytest.approx(10, abs=1) and (values >= 0.85).sum() == pytest.approx(15, abs=1)


def test_by_need_a_stage_waits_for_its_own_judgement():
    """That the error had settled at the resolution before says nothing of this one."""
    progress = Progress(101, by_need=True)
    while not progress.marching:
        progress.advance()
    start = progress.value
    progress.judge(improved=False)
    for _ in range(3):
        assert progress.value == start
        progress.advance()
    second = progress.value
    assert second > start
    for _ in range(9):
        progress.advance()
        assert progress.value == second
    # and a run that is interrupted in the midst of a stage goes on with it
    resumed = Progress(101, by_need=True)
    resumed.restore(progress.state())
    for one in (progress, resumed):
        one.advance()
    assert progress.value == resumed.value > second

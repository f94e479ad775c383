"""The refinement engine on a small set: it converges, its halves stay apart, noise gives no resolution."""
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.evidence import agreement
from cryosgd_plugin.core.fourier import fft3_centred, ifft3_centred
from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.core.poses import angular_distance_deg
from cryosgd_plugin.core.shells import fsc, shell_index_3d
from cryosgd_plugin.engines.mask import dynamic_mask
from cryosgd_plugin.engines.refine import engine as engine_module
from cryosgd_plugin.engines.refine import schedule
from cryosgd_plugin.engines.refine.config import RefineConfig
from cryosgd_plugin.engines.refine.engine import Refinement
from cryosgd_plugin.engines.refine.maps import inverse_tau2, low_passed, of_both, share_low, shell_means, solve
from cryosgd_plugin.engines.refine.updates import update_noise, update_scale
from cryosgd_plugin.engines.validation.half_maps import HalfMapCurves, half_map_curves, randomise_phases
from cryosgd_plugin.ops.slicing import KERNELS, half_volume_radius, half_volume_shape, to_half_volume
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, WIDTH, Source, density, particles

CONFIG = RefineConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=45.0,
                      shared_resolution_a=60.0, shift_range_a=12.0, iterations=5)

def refined(n=300, noise_sd=0.15, config=CONFIG, blobs=None, reference=None, seed=3, threads=1):
    options = {} if blobs is None else dict(blobs=blobs)
    source, table = particles(n, noise_sd=noise_sd, seed=seed, **options)
    unknown = replace(table, rotations=None, shifts_a=None)
    engine = Refinement(config, unknown, source, [density() if reference is None else reference],
                        threads=threads)
    return engine, list(engine.steps()), table


@pytest.fixture(scope="module")
def run():
    return refined()


def test_it_finds_poses_and_map_from_a_blurred_reference(run):
    engine, records, table = run
    assert np.median(angular_distance_deg(engine.results.rotations, table.rotations)) < 4
    assert np.median(np.hypot(*(engine.results.shifts_a - table.shifts_a).T)) < 0.25 * PIXEL
    curve = fsc(engine.whole[0] * engine.sphere, density(), mask=engine.sphere)
    assert np.all(curve[1:8] > 0.9), np.round(curve, 2)
    assert records[-1]["last"] and records[-1]["radius"] >= records[0]["radius"]
    assert records[-1]["resolution_a"] < records[0]["resolution_in_use_a"]


def test_records_say_what_was_pruned_and_scored(run):
    _, records, _ = run
    assert all(0 <= share <= 1 for record in records for share in record["pruned"])
    assert records[-1]["change_deg"] is not None and records[0]["change_deg"] is None
    assert all(record["scored"] > 0 for record in records)


def test_halves_share_no_particle(run):
    engine, _, _ = run
    assert not set(engine.rows[0]) & set(engine.rows[1])
    assert len(engine.rows[0]) + len(engine.rows[1]) == 300


def test_each_run_is_the_same_with_both_halves_at_a_time(run):
    engine, records, _ = run
    again, repeated, _ = refined(threads=4)
    assert np.array_equal(again.halves, engine.halves)
    assert [one["certificate"] and one["certificate"]["images"] for one in repeated] == [
        one["certificate"] and one["certificate"]["images"] for one in records]


def test_spectra_are_those_of_the_simulation(run):
    """White noise of unit variance has σ² of box² a coefficient; τ² is the power of the map in units of its noise."""
    engine, records, _ = run
    spectra = engine.spectra[0]
    assert len(spectra.noise) == BOX // 2
    assert spectra.noise[7:] == pytest.approx(np.full(BOX // 2 - 7, BOX ** 2), rel=0.06)
    # where there is signal, 150 images a half fit some of their own noise
    assert np.all((spectra.noise[1:7] > 0.75 * BOX ** 2) & (spectra.noise[1:7] < 1.1 * BOX ** 2))
    # projections are 1 high where the density is, and were divided by the noise's standard deviation
    truth = density() / (np.sqrt(2 * np.pi) * WIDTH / PIXEL) / 0.15
    shells = shell_index_3d(BOX).ravel()
    power = np.bincount(shells, np.abs(fft3_centred(truth)).ravel() ** 2) / np.bincount(shells)
    ratio = spectra.signal[3:8].sum() / power[3:8].sum()
    assert 0.7 < ratio < 1.4, ratio
    for record in records:
        assert len(record["spectra"]) == 1 and len(set(map(len, record["spectra"][0].values()))) == 1
    assert records[-1]["spectra"][0]["snr"][2] == pytest.approx(spectra.snr[2], rel=1e-3)


def test_the_gaussian_kernel_leaves_poses_and_amplitudes_as_they_are():
    engines = [refined(config=replace(CONFIG, kernel=kernel, iterations=2)) for kernel in KERNELS]
    for engine, _, table in engines:
        assert np.median(angular_distance_deg(engine.results.rotations, table.rotations)) < 4
    axis = np.arange(BOX) - BOX // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis ** 2)
    # where the CTF² weight rises from zero, in the first shells, a wider kernel leans further outwards
    shells = shell_index_3d(BOX)
    band = (shells >= 4) & (shells <= 7)
    trilinear, gaussian = (ifft3_centred(fft3_centred(engine.whole[0]) * band, BOX) for engine, _, _ in engines)
    for lowest, highest in ((0, 3), (3, 5), (5, 7.5)):
        ring = (radius >= lowest) & (radius < highest)
        assert (gaussian * trilinear)[ring].sum() / (trilinear ** 2)[ring].sum() == pytest.approx(1, abs=0.03)


def test_given_halves_are_kept():
    source, table = particles(40, noise_sd=0.3, seed=1)
    given = np.repeat([1, 2], 20).astype(np.int8)
    engine = Refinement(CONFIG, replace(table, half_set=given), source, [density()])
    assert np.array_equal(engine.half_set, given)


def test_noise_has_no_resolution_beyond_the_start():
    """Particles without signal: |FSC| < 3 / √n in every shell of n coefficients beyond the initial low-pass."""
    config = replace(CONFIG, initial_resolution_a=27.0)
    source, table = particles(200, noise_sd=1.0, seed=3, blobs=np.zeros((0, 3)))
    engine = Refinement(config, replace(table, rotations=None, shifts_a=None), source, [density()])
    records = engine.steps()
    resolution = [next(records)["resolution_a"]]
    curve = engine.curves[0].unmasked
    counts = np.bincount(shell_index_3d(BOX).ravel(), minlength=len(curve))[:len(curve)]
    beyond = np.arange(len(counts)) > BOX * PIXEL / config.initial_resolution_a
    # the noise aligned to the reference looks like it up to there, and this is a test of something
    assert curve[4] > 0.5
    assert np.all(np.abs(curve[beyond]) < 3 / np.sqrt(counts[beyond])), np.round(curve, 2)
    records = list(records)
    # nor at the end, when both have gone after their own noise
    curve = engine.curves[0].unmasked
    assert np.all(np.abs(curve[beyond]) < 3 / np.sqrt(counts[beyond])), np.round(curve, 2)
    resolution += [record["resolution_a"] for record in records]
    assert min(resolution) > 0.9 * config.initial_resolution_a, resolution
    # where the curve crosses is within what both halves began with
    assert np.isfinite(min(resolution)) and np.isinf([record["resolved_a"] for record in records]).all()


def test_noise_has_no_resolution_with_samples_either(monkeypatch):
    monkeypatch.setattr(schedule, "FIRST_SAMPLE", 40)
    config = replace(CONFIG, initial_resolution_a=27.0)
    source, table = particles(200, noise_sd=1.0, seed=4, blobs=np.zeros((0, 3)))
    engine = Refinement(config, replace(table, rotations=None, shifts_a=None), source, [density()])
    records = list(engine.steps())
    assert records[0]["n_images"] == 80 and records[-1]["n_images"] == 200
    assert min(record["resolution_a"] for record in records) > 0.9 * config.initial_resolution_a


def test_an_image_stays_within_one_half():
    """Where the halves are drawn: an image in both would make them agree without any signal."""
    source, table = particles(40, noise_sd=0.3, seed=1)
    drawn = Refinement(CONFIG, table, source, [density()]).half_set
    np.testing.assert_array_equal(drawn, np.random.default_rng(CONFIG.seed).permutation(1 + np.arange(40) % 2))
    rows = np.r_[7, 3, 0:40, 3, 39]
    half = Refinement(CONFIG, table.take(rows), Source(source.stack[rows]), [density()]).half_set
    assert all(len(set(half[rows == image])) == 1 for image in range(40))
    assert np.bincount(half[np.unique(rows, return_index=True)[1]]).tolist() == [0, 20, 20]


# ---- what the halves have in common
def test_the_halves_references_are_the_same_below_the_shared_resolution_alone(run):
    engine, _, _ = run
    first, second = (fft3_centred(reference[0]) for reference in engine.references)
    shared = shell_index_3d(BOX) < BOX * PIXEL / CONFIG.shared_resolution_a
    assert first[shared] == pytest.approx(second[shared], abs=1e-4 * np.abs(first).max())
    curve = fsc(engine.references[0, 0], engine.references[1, 0])
    assert np.all(curve[:4] > 0.9999) and np.all(curve[4:] < 0.9999), curve


def test_half_2_has_no_say_in_half_1_beyond_what_they_share(monkeypatch):
    """Where neither their FSC nor a mask is made of both."""
    falling = np.linspace(1, 0, BOX // 2 + 1)
    curves = HalfMapCurves(falling, falling, falling, falling, len(falling))
    monkeypatch.setattr(engine_module, "half_map_curves", lambda *args: curves)
    source, table = particles(60, noise_sd=0.15, seed=3)
    half = (1 + np.arange(60) % 2).astype(np.int8)
    others = np.where(half[:, None, None] == 2, source.stack[::-1, ::-1], source.stack)
    found = []
    for images in (source.stack, others):
        engine = Refinement(replace(CONFIG, mask="sphere", certificate_share=0),
                            replace(table, rotations=None, shifts_a=None, half_set=half), Source(images), [density()])
        next(engine.steps())
        found.append(fft3_centred(engine.references[:, 0, ...][0]))
    shared = shell_index_3d(BOX) < BOX * PIXEL / CONFIG.shared_resolution_a
    scale = np.abs(found[0]).max()
    assert np.abs(found[0] - found[1])[~shared].max() < 1e-5 * scale < np.abs(found[0] - found[1])[shared].max()


def test_a_map_without_density_is_masked_with_the_sphere(monkeypatch):
    """Noise may leave a map that is nowhere above its background: the run goes on, and says so."""
    made = []

    def of_second_empty(volume, *shape):
        made.append(len(made))
        return dynamic_mask(-np.abs(volume) if made[-1] == 1 else volume, *shape)

    monkeypatch.setattr(engine_module, "dynamic_mask", of_second_empty)
    engine, records, _ = refined(n=60, config=replace(CONFIG, iterations=2, certificate_share=0))
    assert len(records) == 3 and records[-1]["last"]
    assert [any("no density above its background" in one for one in record["warnings"]) for record in records] == [
        False, True, False]
    assert np.array_equal(engine.curve_mask, engine.sphere) and not np.array_equal(engine.mask, engine.sphere)


def test_an_empty_half_is_refused():
    source, table = particles(10, noise_sd=0.3)
    half = np.ones(10, np.int8)
    half[0] = 2
    with pytest.raises(InputError, match="no particles"):
        Refinement(replace(CONFIG, max_particles=2, seed=1), replace(table, half_set=half), source, [density()])


@pytest.mark.parametrize("crossing, told", [(26.0, np.inf), (24.1, np.inf), (24.0, 24.0), (17.0, 17.0),
                                            (np.inf, np.inf)])
def test_what_both_halves_began_with_is_no_evidence(crossing, told):
    """A reference low-passed to 27 Å fills shells to the seventh, 27.4 Å; the eighth, 24 Å, is the first to count."""
    assert replace(CONFIG, initial_resolution_a=27.0).resolved(crossing) == told


def test_a_start_at_nyquist_leaves_nothing_to_be_found():
    assert replace(CONFIG, initial_resolution_a=2 * PIXEL).resolved(2 * PIXEL) == np.inf


def test_agreement_in_words():
    assert agreement(12.34) == "agree to 12.3 Å" == agreement(np.inf, 12.34, None)
    assert agreement(None) == agreement(np.inf) == "do not agree beyond what both began with"


# ---- curves
def test_the_masks_own_correlation_is_taken_off():
    """Independent noise with a shared low end: a tight mask carries it outwards, the corrected curve does not."""
    rng = np.random.default_rng(0)
    low = 4 * low_passed(rng.normal(size=(48,) * 3).astype(np.float32), 6)
    halves = low + rng.normal(size=(2, 48, 48, 48)).astype(np.float32)
    curves = half_map_curves(*halves, soft_sphere(48, 10, 3), rng)
    assert curves.first_randomised in (6, 7, 8)
    assert np.abs(curves.unmasked[9:23]).max() < 0.15
    assert curves.masked[7:9].mean() > curves.unmasked[7:9].mean() + 0.3
    assert np.abs(curves.corrected[9:23]).mean() < 0.12
    assert curves.corrected[:5] == pytest.approx(curves.masked[:5])
    assert curves.resolution(48, 1.0) > 48 / 10


def test_signal_survives_the_correction():
    rng = np.random.default_rng(1)
    signal = density(box=32, pixel=6.0)
    halves = signal + 0.02 * rng.normal(size=(2, 32, 32, 32)).astype(np.float32)
    curves = half_map_curves(*halves, soft_sphere(32, 10, 3), rng)
    assert curves.corrected[1:6].min() > 0.9


def test_random_phases_keep_the_amplitudes():
    volume = density()
    other = randomise_phases(volume, 3.5, np.random.default_rng(0))
    assert np.abs(fft3_centred(other)) == pytest.approx(np.abs(fft3_centred(volume)), abs=2e-3 * volume.sum())
    curve = fsc(volume, other)
    assert curve[:4] == pytest.approx(np.ones(4), abs=1e-5) and np.abs(curve[6:]).max() < 0.5


# ---- maps
def test_exact_slices_give_the_map_back():
    volume = density()
    half = to_half_volume(volume, BOX // 2 - 1)
    weight = np.where(half_volume_radius(BOX // 2 - 1) <= BOX // 2, 1.0, 0.0).astype(np.float32)
    # sinc² of the insertion, which `solve` undoes, was never applied here
    solved = solve(half * weight, weight, BOX // 2 - 1, BOX)
    assert np.corrcoef(solved.ravel(), volume.ravel())[0, 1] > 0.99


def test_wiener_weight_is_the_ratio_of_signal_and_noise():
    shape = half_volume_shape(8)
    weight = np.full(shape, 4.0, np.float32)
    means = shell_means(weight, 8)
    assert means == pytest.approx(np.full(9, 4.0))
    curve = np.full(9, 0.8)
    # SNR of a half is 4, so the filter is SNR / (SNR + 1) = 0.8 = FSC
    assert weight.max() / (weight.max() + inverse_tau2(curve, means)) == pytest.approx(curve)
    assert of_both(0.5) == pytest.approx(2 / 3)


def test_shared_shells_are_equal_and_others_untouched():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 16, 16, 16)).astype(np.float32)
    first, second = share_low(a, b, 4)
    curve = fsc(first, second)
    assert curve[:4] == pytest.approx(np.ones(4), abs=1e-5)
    assert curve[4:] == pytest.approx(fsc(a, b)[4:], abs=1e-4)


def test_low_passed_keeps_what_is_below():
    volume = density()
    blurred = low_passed(volume, 5)
    assert fsc(blurred, volume)[1:5] == pytest.approx(np.ones(4), abs=1e-4)
    assert np.abs(low_passed(blurred, 9) - blurred).max() < 1e-4


# ---- settings
@pytest.mark.parametrize("initial, given, shared", [(30.0, None, 40.0), (50.0, None, 50.0), (50.0, 70.0, 70.0)])
def test_what_the_halves_share_follows_a_coarse_start(initial, given, shared):
    config = replace(CONFIG, initial_resolution_a=initial, shared_resolution_a=given)
    assert config.shared_resolution_a == shared and RefineConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("change, words", [
    (dict(diameter_a=500.0), "diameter"), (dict(initial_resolution_a=3.0), "Nyquist"),
    (dict(shared_resolution_a=20.0), "share"), (dict(search="clever"), "search"), (dict(marginal="x"), "marginal"),
    (dict(deviations=0.0), "deviations"), (dict(bound="none"), "choose of own, strongest"),
    (dict(iterations=0), "iterations"), (dict(classes=0), "classes"),
    (dict(seed=-1), "seed"),
    (dict(max_particles=1), "max particles"), (dict(shift_range_a=-1.0), "shift range"),
    (dict(kernel="cubic"), "kernel 'cubic' is unknown; choose of trilinear, gaussian"),
    (dict(mask="x"), "mask"), (dict(pixel_size=0.0), "pixel size"), (dict(box_size=8), "box")])
def test_settings_refuse_nonsense(change, words):
    with pytest.raises(InputError, match=words):
        replace(CONFIG, **change)


# ---- noise and scale
def test_scales_settle_at_their_most_probable_value():
    """The same evidence again and again moves nothing on; a weak particle stays near 1."""
    scale, rows = np.ones(3), np.arange(3)
    for _ in range(20):
        # sums over half the plane of images whose true scales are 1.2, 0.8 and 1, the last with little signal
        true, power = np.array([1.2, 0.8, 1.9]), np.array([300.0, 300.0, 2.0])
        result = SimpleNamespace(linear=scale * true * power / 2, square=scale ** 2 * power / 2)
        update_scale(scale, [(rows, result)])
    prior = 25
    expected = (true * power + prior) / (power + prior)
    assert scale == pytest.approx(expected / expected.mean(), rel=1e-3)


def test_noise_of_few_images_is_drawn_to_that_of_all():
    preparer = SimpleNamespace(counts=np.array([0, 4, 8]), noise_share=0.5)
    noise = np.ones((2, 2, 5))
    one = SimpleNamespace(images=np.array([1000, 1]), residual=np.array([[0, 2000.0, 4000], [0, 20.0, 4]]))
    update_noise(noise, [one, one], preparer)
    assert noise[0, 0, 1] == pytest.approx(1.0, rel=0.01)
    assert 1.0 < noise[0, 1, 1] < 1.3
    assert noise[0, 0, 3] == noise[0, 0, 2] and noise[0, 0, 0] == noise[0, 0, 1]
    one.residual = -one.residual
    update_noise(noise, [one, one], preparer)
    assert noise.min() > 0


def test_an_initial_resolution_at_nyquist_runs():
    config = replace(CONFIG, initial_resolution_a=2 * PIXEL, iterations=1, max_particles=40)
    _, records, _ = refined(n=60, config=config)
    assert records[0]["radius"] == BOX // 2 - 1

"""Resolution by direction and the sampling of Fourier space by views: cases whose answer is known."""
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import fft3_centred, ifft3_centred
from cryosgd_plugin.core.poses import random_rotations, view_directions
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.engines.validation.directional import CONE_NSIDE, _centres, conical_fsc, outcome
from cryosgd_plugin.engines.validation.sampling import EVEN_ENOUGH, efficiency, fourier_sampling
from cryosgd_plugin.engines.validation.sampling import outcome as sampling_outcome

BOX, PIXEL = 64, 2.0
ALL = np.ones((BOX,) * 3, np.float32)
C1 = point_group("C1")


def noisy_pair(share, seed=0):
    """Two half-maps of random density whose coefficients are multiplied by `share` before the noise."""
    rng = np.random.default_rng(seed)
    density = ifft3_centred(fft3_centred(rng.standard_normal((BOX,) * 3)) * share, BOX)
    return [density + 0.3 * rng.standard_normal((BOX,) * 3).astype(np.float32) for _ in range(2)]


def radii():
    k = np.rint(np.fft.fftfreq(BOX) * BOX)
    z, y, x = np.meshgrid(k, k, np.arange(BOX // 2 + 1), indexing="ij")
    return np.hypot(x, y), np.abs(z), np.sqrt(x**2 + y**2 + z**2)


def test_an_isotropic_map_is_isotropic():
    *_, radius = radii()
    halves = noisy_pair((radius <= 20).astype(np.float32))
    found = conical_fsc(*halves, ALL, pixel_size=PIXEL)
    assert found.resolutions(0.5) == pytest.approx(np.full(12 * CONE_NSIDE**2, BOX * PIXEL / 20.5), rel=0.04)
    assert found.area_ratio > 0.95 and found.sphericity > 0.99
    # Friedel: a direction and its antipode are one
    opposite = np.argmin(_centres(CONE_NSIDE) @ _centres(CONE_NSIDE).T, axis=1)
    assert found.curves[opposite] == pytest.approx(found.curves, abs=1e-9)
    assert "anisotropic" not in outcome(found)


def test_a_map_flattened_along_z_shows_its_axis():
    """Signal to shell 24 across z and to 10 along it, by an ellipsoid: 1/r² = sin²/24² + cos²/10²."""
    across, along, _ = radii()
    halves = noisy_pair(((across / 24) ** 2 + (along / 10) ** 2 <= 1).astype(np.float32))
    found = conical_fsc(*halves, ALL, pixel_size=PIXEL)
    height = np.abs(_centres(CONE_NSIDE)[:, 2])
    shells = BOX * PIXEL / found.resolutions(0.5)
    assert np.median(shells[height > 0.97]) == pytest.approx(10.8, abs=1.5)
    # of the cone about the equator less than half lies beyond where the ellipsoid's edge enters it
    assert 15 < np.median(shells[height < 0.1]) < 24
    assert found.area_ratio < 0.75 and found.sphericity < 0.97
    assert np.argmax(found.areas) in np.flatnonzero(height < 0.3)


def test_a_missing_cone_is_called_anisotropic():
    across, along, _ = radii()
    found = conical_fsc(*noisy_pair((along <= across).astype(np.float32)), ALL, pixel_size=PIXEL)
    # the first shells, too small for cones, are those of the whole sphere
    assert found.area_ratio < 0.15
    assert "The map is anisotropic" in outcome(found)


def test_a_cone_as_wide_as_the_sphere_is_the_whole_shell():
    halves = noisy_pair(np.ones((BOX, BOX, BOX // 2 + 1), np.float32))
    found = conical_fsc(*halves, ALL, pixel_size=PIXEL, half_angle_deg=90.0)
    assert found.curves[0, 1:] == pytest.approx(fsc(*halves)[1:], abs=1e-6)


# ---- sampling
def test_even_views_sample_evenly():
    rng = np.random.default_rng(0)
    found = fourier_sampling(view_directions(random_rotations(20000, rng)), C1, radius=5, rng=rng)
    assert found.counts.mean() == pytest.approx(20000 / 10, rel=0.01)
    assert found.scf == pytest.approx(1, abs=0.01) and found.scf_star == found.scf
    assert efficiency(found) > 0.97
    assert "Views are missing" not in sampling_outcome(found)


def test_side_views_have_their_known_factor():
    """Views from all sides of z measure a direction at θ from z as often as 1 / sin θ: SCF = 8 / π²."""
    rng = np.random.default_rng(1)
    angle = rng.uniform(0, 2 * np.pi, 40000)
    views = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)
    found = fourier_sampling(views, C1, radius=20, rng=rng)
    assert found.scf == pytest.approx(8 / np.pi**2, abs=0.02)
    assert 0.7 < efficiency(found) < 0.97


def test_top_views_leave_directions_unmeasured():
    rng = np.random.default_rng(2)
    found = fourier_sampling(np.tile([0.0, 0.0, 1.0], (500, 1)), C1, radius=10, rng=rng)
    # of the sphere |z| < 1/20 is measured
    assert found.unsampled == pytest.approx(0.95, abs=0.02)
    assert found.scf == 0 and found.scf_star < 0.01 < EVEN_ENOUGH
    # the point-spread function is a needle along z
    assert efficiency(found) < 0.3
    assert "never measured" in sampling_outcome(found) and "Views are missing" in sampling_outcome(found)


def test_symmetry_fills_what_one_view_leaves():
    rng = np.random.default_rng(3)
    views = view_directions(random_rotations(3, rng))
    group = point_group("D7")
    mates = fourier_sampling(views, group, radius=3, rng=rng)
    expanded = np.einsum("gij,nj->gni", group, views).reshape(-1, 3)
    assert np.array_equal(mates.counts, fourier_sampling(expanded, C1, radius=3, rng=rng).counts)
    assert mates.views == 42 and mates.unsampled < fourier_sampling(views, C1, radius=3, rng=rng).unsampled


def test_of_many_views_some_are_drawn(monkeypatch):
    from cryosgd_plugin.engines.validation import sampling
    monkeypatch.setattr(sampling, "MOST_VIEWS", 4000)
    rng = np.random.default_rng(4)
    found = fourier_sampling(view_directions(random_rotations(5000, rng)), point_group("C2"), radius=4, rng=rng)
    assert found.views == 4000 and found.scf > 0.98


def test_no_views_are_refused():
    with pytest.raises(InputError, match="no views to count"):
        fourier_sampling(np.zeros((0, 3)), C1, radius=5, rng=np.random.default_rng(0))

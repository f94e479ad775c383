"""The built-in phantom: ideal geometry, size, hand, and no symmetry."""
import numpy as np
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from cryosgd_plugin.engines.simulate import _backbone as backbone
from cryosgd_plugin.engines.simulate.density import centre_of_mass, density_from_atoms
from cryosgd_plugin.engines.simulate.phantom import phantom_atoms, phantom_domains, phantom_mass_kda

# largest correlation at 20 Å of the phantom with itself turned by 360°/n about any axis, and with its mirror image in
# any orientation (measured: 0.66 and 0.81)
SELF_CORRELATION, MIRROR_CORRELATION = 0.72, 0.86


@pytest.fixture(scope="module")
def coarse():
    """The phantom at 20 Å, where its Fourier amplitude is halved, at 6 Å/px."""
    return density_from_atoms(*phantom_atoms(), 40, 6.0, b_factor_a2=4 * 20.0 ** 2 * np.log(2))


def turned(volume, matrix):
    centre = np.full(3, volume.shape[0] // 2)
    reversed_axes = matrix[::-1, ::-1]
    return affine_transform(volume, reversed_axes, offset=centre - reversed_axes @ centre, order=1)


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_helix_is_right_handed_and_ideal():
    helix = backbone.ideal_element("helix", 24)
    alpha = helix[:, 1]
    turn = np.angle(np.exp(1j * np.diff(np.arctan2(alpha[:, 1], alpha[:, 0]))), deg=True)
    assert np.diff(alpha[:, 2]) == pytest.approx(1.5, abs=0.08)         # rise along z, in the chain's direction
    assert turn == pytest.approx(100, abs=2)                            # counter-clockwise while rising: right-handed
    assert np.hypot(alpha[:, 0], alpha[:, 1]) == pytest.approx(2.3, abs=0.05)
    hydrogen_bonds = np.linalg.norm(helix[4:, 0] - helix[:-4, 3], axis=1)
    assert hydrogen_bonds == pytest.approx(3.0, abs=0.15)               # O of residue i to N of i + 4


def test_strand_is_extended():
    strand = backbone.ideal_element("strand", 10)
    assert np.diff(strand[:, 1, 2]) == pytest.approx(3.35, abs=0.1)


@pytest.mark.parametrize("kind", ["helix", "strand"])
def test_residues_are_l_amino_acids(kind):
    n, ca, c, _, cb = backbone.ideal_element(kind, 8).transpose(1, 0, 2)
    handed = np.einsum("ij,ij->i", np.cross(n - ca, c - ca), cb - ca)
    # positive as in deposited structures (2.5 Å³ on average in 1OEL)
    assert handed == pytest.approx(2.55, abs=0.1)


def test_chains_are_continuous_and_domains_do_not_clash():
    domains = phantom_domains()
    for name, domain in domains.items():
        alpha = domain[:, 1]
        steps = np.linalg.norm(np.diff(alpha, axis=0), axis=1)
        assert 2.1 < steps.min() and steps.max() < 4.3, name        # 3.8 Å in a chain; loops turn in less
        assert cKDTree(alpha).query_pairs(2.1) == set(), name
    names = list(domains)
    for i, first in enumerate(names):
        for second in names[i + 1:]:
            trees = [cKDTree(domains[name][:, 1]) for name in (first, second)]
            assert trees[0].count_neighbors(trees[1], 2.5) == 0, (first, second)


def test_size_mass_and_centre():
    positions, elements = phantom_atoms()
    assert 150 < pdist(positions[::7]).max() < 171
    assert 130 < phantom_mass_kda() < 400
    assert len(phantom_domains()) == 5
    assert centre_of_mass(positions, elements) == pytest.approx(0, abs=1e-6)
    again, _ = phantom_atoms()
    assert np.array_equal(positions, again)


def test_no_rotation_of_any_point_group_takes_it_to_itself(coarse):
    # a symmetry would leave the centre of mass where it is, so no shift need be searched
    axes = 100
    k = np.arange(axes) + 0.5
    polar, around = np.arccos(1 - k / axes), np.pi * (1 + 5 ** 0.5) * k      # a spiral over the half sphere
    directions = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=1)
    for order in (2, 3, 4, 5, 6, 7):
        rotations = Rotation.from_rotvec(directions * 2 * np.pi / order).as_matrix()
        assert max(correlation(coarse, turned(coarse, r)) for r in rotations) < SELF_CORRELATION, order
    # the measure sees a symmetry where there is one
    twofold = coarse + turned(coarse, np.diag([-1.0, -1, 1]))
    assert correlation(twofold, turned(twofold, np.diag([-1.0, -1, 1]))) > 0.95


def test_mirror_image_differs_in_every_orientation(coarse):
    mirror = np.diag([1.0, 1, -1])
    scores = [correlation(coarse, turned(coarse, mirror @ r))
              for r in Rotation.random(600, random_state=0).as_matrix()]
    best = Rotation.random(600, random_state=0).as_matrix()[int(np.argmax(scores))]
    around = Rotation.from_rotvec(np.random.default_rng(0).normal(0, 0.15, (150, 3))).as_matrix()
    best_score = max(correlation(coarse, turned(coarse, mirror @ best @ r)) for r in around)
    assert max(max(scores), best_score) < MIRROR_CORRELATION


def test_helices_are_rods_at_8_angstrom():
    positions, elements = phantom_atoms()
    body = phantom_domains()["body"]
    offset = centre_of_mass(body.reshape(-1, 3), list(backbone.ATOM_ELEMENTS) * len(body))
    volume = density_from_atoms(body.reshape(-1, 3) - offset, list(backbone.ATOM_ELEMENTS) * len(body), 64, 2.0,
                                b_factor_a2=4 * 8.0 ** 2 * np.log(2))
    profile = volume[24:40].mean(axis=0)         # the section across the bundle, over 32 Å of its length
    spectrum = np.abs(np.fft.rfft2(profile)) ** 2
    frequency = np.hypot(np.fft.fftfreq(64, 2.0)[:, None], np.fft.rfftfreq(64, 2.0))
    # rows of helices √3/2 · 10 Å and 10 Å apart repeat: a peak above all finer and all next coarser detail
    rods = spectrum[(frequency > 1 / 12) & (frequency < 1 / 8)].max()
    assert rods > 5 * spectrum[(frequency > 1 / 18) & (frequency < 1 / 14)].max()

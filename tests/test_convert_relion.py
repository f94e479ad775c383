"""Our border with Scipion beside the converter of scipion-em-relion: each reads what the other writes."""
import numpy as np
import pytest

pytest.importorskip("pwem", reason="Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import SetOfParticles

from cryosgd_plugin.convert import table_from_set
from cryosgd_plugin.core.ctf import ctf_for
from cryosgd_plugin.core.fourier import frequencies_2d
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.tests.convert_samples import EXACT, reopened, to_scipion, write_star


@pytest.fixture
def star(tmp_path):
    return write_star(tmp_path)


def test_relions_converter_writes_what_we_mean(star, tmp_path, monkeypatch):
    relion = pytest.importorskip("relion.convert", reason="scipion-em-relion is not installed here")
    monkeypatch.chdir(tmp_path)
    wanted = read_particles(star)
    particles = to_scipion(wanted, tmp_path)
    relion.writeSetOfParticles(particles, "relion.star", extraLabels=["rlnRandomSubset", "rlnCtfBfactor",
                                                                      "rlnCtfScalefactor", "rlnGroupName"])
    got = read_particles(tmp_path / "relion.star")
    np.testing.assert_allclose(got.rotations, wanted.rotations, atol=EXACT)
    np.testing.assert_allclose(got.shifts_a, wanted.shifts_a, atol=EXACT)
    np.testing.assert_array_equal(got.half_set, wanted.half_set)
    np.testing.assert_array_equal(got.stack_index, wanted.stack_index)
    np.testing.assert_array_equal(got.optics_id, wanted.optics_id)
    kx, ky = frequencies_2d(20, 1.25)
    np.testing.assert_allclose(ctf_for(got, np.arange(4), kx, ky), ctf_for(wanted, np.arange(4), kx, ky), atol=EXACT)
    assert [(g.voltage_kv, g.cs_mm, g.beam_tilt_mrad, g.even_zernike) for g in got.optics] == [
        (g.voltage_kv, g.cs_mm, g.beam_tilt_mrad, g.even_zernike) for g in wanted.optics]


def test_we_read_what_relions_converter_imports(star, tmp_path, monkeypatch):
    relion = pytest.importorskip("relion.convert", reason="scipion-em-relion is not installed here")
    monkeypatch.chdir(tmp_path)
    wanted = read_particles(star)
    particles = SetOfParticles(filename="relion.sqlite")
    relion.readSetOfParticles(str(star), particles, alignType="Projection", extraLabels=["rlnOpticsGroup"])
    got = table_from_set(reopened(particles), root=tmp_path)
    np.testing.assert_array_equal(got.ids, [11, 12, 20, 21])
    np.testing.assert_allclose(got.rotations, wanted.rotations, atol=EXACT)
    np.testing.assert_allclose(got.shifts_a, wanted.shifts_a, atol=EXACT)
    np.testing.assert_allclose(got.phase_shift_deg, wanted.phase_shift_deg, atol=EXACT)
    np.testing.assert_allclose(got.ctf_bfactor, wanted.ctf_bfactor, atol=EXACT)
    np.testing.assert_array_equal(got.half_set, wanted.half_set)
    kx, ky = frequencies_2d(20, 1.25)
    np.testing.assert_allclose(ctf_for(got, np.arange(4), kx, ky), ctf_for(wanted, np.arange(4), kx, ky), atol=EXACT)

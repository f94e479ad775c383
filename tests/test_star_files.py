"""Real STAR files of several programs: round trips in both RELION formats, and RELION's own reading of ours."""
import shutil
import subprocess

import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.star import read_particles, read_table, write_particles, write_table
from cryosgd_plugin.tests.io_samples import shared
from cryosgd_plugin.tests.star_samples import assert_same

# name in the shared data, particles, values for what the file itself leaves out
PARTICLE_FILES = [
    ("apoferritin/particles_72.star", 2563, {}),
    ("aspire_reference/rln_proj_64.star", 5, {"pixel_size": 1.0}),
    ("aspire_reference/rln_proj_64_centered.star", 4, {}),
    ("aspire_reference/rln_proj_64_shifted.star", 4, {}),
    ("aspire_reference/rln_proj_65.star", 5, {"pixel_size": 1.0}),
    ("aspire_reference/rln_proj_65_centered.star", 4, {}),
    ("aspire_reference/rln_proj_65_shifted.star", 4, {}),
    ("aspire_reference/sample_particles_relion31.star", 17, {}),
    ("cryodrgn_small_real/FinalRefinement-OriginalParticles-PfCRT.star", 5, {"amplitude_contrast": 0.1}),
    ("cryodrgn_small_real/empiar_10076_7.star", 7, {}),
    ("cryodrgn_small_real/relion31.star", 5, {}),
    ("relion_project_reference/particles_betagal_reliontutorial.star", 4501, {}),
    ("relion_project_reference/relion_proj_batch.star", 24, {}),
    ("relion_project_reference/relion_proj_batch_pfac2.star", 24, {}),
    ("relion_project_reference/relion_proj_batch_pfac3.star", 24, {}),
]
OTHER_FILES = ["fsc_reference/starfile_postprocess.star", "apoferritin/halfmaps/postprocess.star",
               "fsc_reference/mtf_k2_300kV.star", "fsc_reference/mtf_de20_300kV.star",
               "fsc_reference/mtf_falcon2_300kV.star", "apoferritin/halfmaps/postprocess_tight.star"]


@pytest.mark.parametrize("name, count, stated", PARTICLE_FILES)
def test_round_trip_of_real_files(name, count, stated, tmp_path):
    """file → table → RELION 3.1 file → table changes nothing, and neither does a second time, to the last byte."""
    table = read_particles(shared(name), images_must_exist=False, **stated)
    assert len(table) == count
    write_particles(tmp_path / "out.star", table)
    again = read_particles(tmp_path / "out.star", images_must_exist=False)
    assert_same(table, again)
    write_particles(tmp_path / "again.star", again)
    assert (tmp_path / "again.star").read_bytes() == (tmp_path / "out.star").read_bytes()


@pytest.mark.parametrize("name, notes", [
    ("apoferritin/particles_72.star", ["RELION 3.0 files can't hold rlnMicrographOriginalPixelSize: left out"]),
    ("cryodrgn_small_real/empiar_10076_7.star", [])])
def test_round_trip_through_relion_30(name, notes, tmp_path):
    table = read_particles(shared(name))
    assert write_particles(tmp_path / "old.star", table, relion_30=True) == notes
    text = (tmp_path / "old.star").read_text()
    assert "data_optics" not in text and "_rlnDetectorPixelSize" in text and "_rlnOriginXAngst" not in text
    again = read_particles(tmp_path / "old.star")
    np.testing.assert_allclose(again.defocus_u, table.defocus_u, atol=1e-6)
    assert again.pixel_size == pytest.approx(table.pixel_size, rel=1e-8)
    if table.shifts_a is not None:
        np.testing.assert_allclose(again.shifts_a, table.shifts_a, atol=1e-5)
        np.testing.assert_allclose(again.rotations, table.rotations, atol=1e-7)


@pytest.mark.parametrize("name", OTHER_FILES)
def test_generic_tables_of_real_files(name, tmp_path):
    table = read_table(shared(name))
    write_table(tmp_path / "out.star", {"first": table})
    again = read_table(tmp_path / "out.star", "first")
    assert list(table) == list(again)
    for tag, values in table.items():
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            np.testing.assert_allclose(again[tag], values, rtol=1e-8)
        else:
            assert np.all(again[tag] == values), tag


def test_values_of_postprocess_star():
    path = shared("fsc_reference/starfile_postprocess.star")
    general, fsc = read_table(path, "general"), read_table(path, "fsc")
    assert general["rlnFinalResolution"] == 16.363636 and general["rlnMaskName"] == "mask.mrc"
    assert fsc["rlnSpectralIndex"].dtype == np.int64
    assert fsc["rlnFourierShellCorrelationUnmaskedMaps"][5] == 0.970256
    with pytest.raises(InputError, match="no block data_particles; it has data_general, data_fsc, data_guinier"):
        read_table(path, "particles")


@pytest.mark.skipif(shutil.which("relion_star_handler") is None, reason="RELION is not installed (relion_star_handler)")
@pytest.mark.parametrize("name", ["apoferritin/particles_72.star", "cryodrgn_small_real/empiar_10076_7.star"])
def test_relion_reads_what_we_write(name, tmp_path):
    table = read_particles(shared(name))
    write_particles(tmp_path / "ours.star", table)
    subprocess.run(["relion_star_handler", "--i", "ours.star", "--o", "relion.star"], cwd=tmp_path, check=True,
                   capture_output=True)
    again = read_particles(tmp_path / "relion.star")
    np.testing.assert_allclose(again.defocus_u, table.defocus_u, atol=1e-5)
    assert again.optics[0].pixel_size == pytest.approx(table.optics[0].pixel_size, abs=1e-6)
    if table.rotations is not None:
        np.testing.assert_allclose(again.rotations, table.rotations, atol=1e-7)
        np.testing.assert_allclose(again.shifts_a, table.shifts_a, atol=1e-5)
    if not table.has_ctf or table.rotations is None:
        return
    write_particles(tmp_path / "few.star", table.take(np.arange(20)))
    done = subprocess.run(["relion_reconstruct", "--i", "few.star", "--o", "map.mrc", "--ctf"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "map.mrc").exists(), done.stderr

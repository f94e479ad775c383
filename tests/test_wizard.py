"""The wizards in Scipion's own form windows: diameter, resolution, symmetry, mask and GPUs."""
import os
from pathlib import Path
from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest

pytest.importorskip("pwem", reason="Scipion (pyworkflow, pwem) is not installed here")
pytest.importorskip("tkinter", reason="the windows need Tk")
pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

import pyworkflow as pw
from pwem.objects import Particle, SetOfParticles, Volume
from pyworkflow.project import Manager

from cryosgd_plugin.convert import some_images
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.shells import power_spectrum
from cryosgd_plugin.core.symmetry import symmetrise
from cryosgd_plugin.engines.validation.halves import automatic_mask
from cryosgd_plugin.io.volumes import read_volume, write_volume


@pytest.fixture
def form(tmp_path, monkeypatch, request):
    """(session, form of the ab initio protocol, particles) in a new project, which is the current folder."""
    from cryosgd_plugin.tests.gui_session import GuiSession
    if "cryosgd_plugin" not in pw.Config.getDomain().getPlugins():
        pytest.skip("CryoSGD is not installed as a plugin here (no entry point): run `make test`")
    pw.Config.getDomain().getProtocols()
    project = Manager().createProject(f"wizard_{tmp_path.name}")
    monkeypatch.chdir(project.path)
    y, x = np.indices((24, 24)) - 12
    images = 2.0 * (np.hypot(x, y) < 7) + np.random.default_rng(0).normal(size=(10, 24, 24))
    with mrcfile.new("p.mrcs") as stack:
        stack.set_data(images.astype(np.float32))
        stack.set_image_stack()
    particles = SetOfParticles(filename="p.sqlite")
    particles.setSamplingRate(5.0)
    for number in range(1, 11):
        particles.append(Particle(location=(number, "p.mrcs")))
    particles.write()
    screenshots = Path(os.environ.get("CRYOSGD_SCREENSHOTS") or tmp_path, request.node.name)
    session = GuiSession(project.path, screenshots, monkeypatch)
    yield session, session.open_from_tree("ProtCryosgdAbInitio"), particles
    session.close()


def test_wizard_is_offered_and_sets_the_field(form, monkeypatch):
    session, window, particles = form
    from cryosgd_plugin.wizards import CryosgdDiameterWizard, diameter
    found = pw.Config.getDomain().findWizards(window.protocol, "tkinter")
    assert found["particleDiameter"].__name__ == "CryosgdDiameterWizard"
    window.protocol.inputParticles.set(particles)
    dialogs = []
    body = diameter.DiameterDialog.body

    def turn_to_70(dialog, frame):
        body(dialog, frame)
        dialogs.append(dialog)
        dialog.initial_focus.set(70)
    monkeypatch.setattr(diameter.DiameterDialog, "body", turn_to_70)
    session.answers["Particle diameter"] = "OK"
    CryosgdDiameterWizard().show(window, "particleDiameter")
    assert window.protocol.particleDiameter.get() == 70.0
    assert {circle.get_radius() for circle in dialogs[0]._circles} == {35.0}
    session.answers["Particle diameter"] = "Cancel"
    window.setVar("particleDiameter", 90)
    CryosgdDiameterWizard().show(window, "particleDiameter")
    assert window.protocol.particleDiameter.get() == 90.0


def test_without_particles_the_wizard_says_what_to_do(form):
    session, window, _ = form
    from cryosgd_plugin.wizards import CryosgdDiameterWizard
    window.protocol.inputParticles.set(None)
    CryosgdDiameterWizard().show(window, "particleDiameter")
    assert any("Choose the particles first" in text for _, text in session.dialogs)


def test_images_of_an_empty_set(tmp_path):
    particles = SetOfParticles(filename=str(tmp_path / "empty.sqlite"))
    particles.write()
    with pytest.raises(InputError, match="no particles"):
        some_images(particles, 3)


def acting(monkeypatch, dialog_class, act):
    """Call act(dialog) once its widgets are there; [the dialogs that came up]."""
    body, seen = dialog_class.body, []

    def body_and_act(dialog, frame):
        body(dialog, frame)
        seen.append(dialog)
        act(dialog)
    monkeypatch.setattr(dialog_class, "body", body_and_act)
    return seen


def show(window, field):
    """Press the wand beside a field; returns the wizard's class."""
    wizard = window.wizards[field]
    window.wizParamName = field
    wizard().show(window)
    return wizard


def map_with_halves(name="map", group="D2", box=32):
    """A Volume with half-maps of a soft molecule on the axes of a point group, in the current folder."""
    z, y, x = np.indices((box,) * 3) - box // 2
    rng = np.random.default_rng(1)
    density = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 8.0)
                  for a, b, c in ((7, 2, 3), (3, 6, -2), (-1, 4, 6)))
    density = symmetrise(density.astype(np.float32), group)
    halves = [f"{name}_half{number}.mrc" for number in (1, 2)]
    for path in (f"{name}.mrc", *halves):
        write_volume(path, density + rng.normal(scale=0.01, size=density.shape).astype(np.float32), 4.0)
    volume = Volume(location=f"{name}.mrc")
    volume.setSamplingRate(4.0)
    volume.setHalfMaps(halves)
    return volume


SMI = """#!/bin/sh
echo "0, NVIDIA H100 80GB HBM3, 81559, 1024, 3"
echo "1, Tesla T4, 15360, 9000, [N/A]"
"""


def test_the_wands_of_ab_initio(form, monkeypatch, tmp_path):
    session, window, particles = form
    from cryosgd_plugin.wizards import gpus, resolution, symmetry
    assert set(window.wizards) == {"particleDiameter", "initialResolution", "finalResolution", "symmetry", "gpuWizard"}
    window.protocol.inputParticles.set(particles)

    # the resolution: the limits' own sliders, and the nearest line to a click
    def limits(dialog):
        dialog.choose(0, 35.0)
        dialog._dragged(SimpleNamespace(button=1, inaxes=dialog, xdata=1 / 15.0))
    dialogs = acting(monkeypatch, resolution.ResolutionDialog, limits)
    session.answers["Resolution"] = "OK"
    show(window, "initialResolution")
    assert window.protocol.initialResolution.get() == 35.0
    assert window.protocol.finalResolution.get() == pytest.approx(15.0, abs=0.1)
    spectra = dialogs[0].spectra
    np.testing.assert_allclose(spectra.curves["images"], power_spectrum(some_images(particles, 10)))
    assert spectra.curves["noise around the particles"][-3:] == pytest.approx(24 ** 2, rel=0.4), "white, of variance 1"
    assert "× the noise" in dialogs[0]._reading(60.0)

    # the symmetry, of a list
    acting(monkeypatch, symmetry.SymmetryDialog, lambda dialog: dialog.tree.selection_set("D7"))
    session.answers["Symmetry"] = "OK"
    show(window, "symmetry")
    assert window.protocol.symmetry.get() == "D7"

    # the GPUs
    monkeypatch.setenv("PATH", str(tmp_path))
    show(window, "gpuWizard")
    assert "nvidia-smi does not answer" in session.dialogs[-1][1]
    smi = tmp_path / "nvidia-smi"
    smi.write_text(SMI, encoding="utf-8")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert [gpu.in_words() for gpu in gpus.list_gpus()] == [
        "0   NVIDIA H100 80GB HBM3   79 of 80 GiB free, 3 % at work",
        "1   Tesla T4   6 of 15 GiB free, 0 % at work   in use by others"]
    acting(monkeypatch, gpus.GpuDialog, lambda dialog: (dialog.ticks[1].set(True), dialog._ticked()))
    session.answers["GPUs"] = "OK"
    show(window, "gpuWizard")
    assert window.protocol.useGpu.get() and window.protocol.gpuList.get() == "1"


def test_the_wands_of_refine_and_postprocess(form, monkeypatch):
    session, _, _ = form
    from cryosgd_plugin.wizards import diameter, mask, resolution, symmetry
    volume = map_with_halves()
    window = session.open_from_tree("ProtCryosgdRefine")
    show(window, "initialResolution")
    assert "Choose the reference first" in session.dialogs[-1][1]
    monkeypatch.setattr(window.protocol, "references", lambda: [("map", volume)], raising=False)
    dialogs = acting(monkeypatch, resolution.ResolutionDialog, lambda dialog: dialog.choose(0, 45.0))
    session.answers["Resolution"] = "OK"
    show(window, "sharedResolution")
    assert window.protocol.sharedResolution.get() == 45.0
    assert dialogs[0].spectra.agreement[1] > 0.95 and "FSC" in dialogs[0]._reading(45.0)

    # groups are tried on the reference in the background; the dialog stays until the answer is there
    dialogs = acting(monkeypatch, symmetry.SymmetryDialog, lambda dialog: (dialog.resolution.set("16"), dialog.start()))
    monkeypatch.setattr(symmetry, "LARGEST_FOLD", 3)
    verdict = []

    def answered():
        dialog = dialogs[-1]
        if str(dialog.fit["state"]) == "normal":
            verdict[:] = [dialog.line.cget("text"), dialog.tree.set("D2", "lies"), dialog.tree.set("D2", "fits"),
                          dialog.tree.set("C4", "lies")]
        return bool(verdict)
    session.until["Symmetry"] = answered
    session.answers["Symmetry"] = "Cancel"
    show(window, "symmetry")
    assert verdict[0].startswith("D2 fits") and float(verdict[1]) > 0.7 and float(verdict[2]) > 0.8
    assert float(verdict[3]) < 0.5, "C4 as it lies"
    assert window.protocol.symmetry.get() == "C1", "cancelled"

    # the sphere in which a post-processing makes its mask, and that mask
    window = session.open_from_tree("ProtCryosgdPostprocess")
    show(window, "particleDiameter")
    assert "Choose a map with half-maps first" in session.dialogs[-1][1]
    show(window, "maskThreshold")
    assert "Choose a map with half-maps first" in session.dialogs[-1][1]
    window.protocol.inputVolume.set(volume)
    dialogs = acting(monkeypatch, diameter.DiameterDialog, lambda dialog: dialog.choose(96.0))
    session.answers["Particle diameter"] = "OK"
    show(window, "particleDiameter")
    assert window.protocol.particleDiameter.get() == 96.0
    mean = np.mean([read_volume(half)[0] for half in volume.getHalfMaps(asList=True)], axis=0)
    pictures = [image.get_array() for axes in dialogs[0].canvas.figure.axes for image in axes.images]
    np.testing.assert_allclose(pictures[0], mean.sum(axis=0), rtol=1e-4, atol=1e-4)
    assert len(pictures) == 6
    dialogs, ends_at = acting(monkeypatch, mask.MaskDialog,
                              lambda dialog: (dialog.choose(threshold=0.4), dialog.choose(edge_a=24.0))), []

    def drawn():
        ends_at[:] = [dialogs[-1].winfo_rooty() + dialogs[-1].winfo_height()]
        return dialogs[-1]._made_with == dialogs[-1].shape
    session.until["Mask"] = drawn
    low = window.root.winfo_screenheight() - 100
    session.place(window, f"+300+{low}")
    session.answers["Mask"] = "OK"
    show(window, "maskEdge")
    assert [getattr(window.protocol, field).get() for field in mask.FIELDS] == [0.4, 6.0, 24.0]
    assert ends_at[0] <= window.root.winfo_screenheight(), "the form is low on the screen, the buttons are on it"
    expected = automatic_mask(mean, 4.0, 96.0, mask.MaskShape(0.4, 6.0, 24.0))
    np.testing.assert_allclose(dialogs[0].mask, expected, atol=1e-5)


def test_the_diameter_of_a_comparison_is_set_on_the_first_map_and_that_of_a_validation_needs_no_particles(
        form, monkeypatch):
    session, _, _ = form
    from cryosgd_plugin.wizards import diameter
    volume = map_with_halves()
    seen = acting(monkeypatch, diameter.DiameterDialog, lambda dialog: dialog.choose(72.0))
    session.answers["Particle diameter"] = "OK"
    window = session.open_from_tree("ProtCryosgdConsensus")
    show(window, "particleDiameter")
    assert "Choose the maps first" in session.dialogs[-1][1]
    monkeypatch.setattr(diameter, "maps_pointed_at", lambda pointers: [("map", volume)])
    show(window, "particleDiameter")
    assert window.protocol.particleDiameter.get() == 72.0
    window = session.open_from_tree("ProtCryosgdValidate")
    window.protocol.inputVolume.set(volume)
    show(window, "particleDiameter")
    assert window.protocol.particleDiameter.get() == 72.0 and len(seen) == 2

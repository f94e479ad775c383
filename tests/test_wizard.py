"""The diameter wizard in Scipion's own form window."""
import os

import mrcfile
import numpy as np
import pytest

pytest.importorskip("pwem", reason="Scipion (pyworkflow, pwem) is not installed here")
pytest.importorskip("tkinter", reason="the windows need Tk")
pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

import pyworkflow as pw
from pwem.objects import Particle, SetOfParticles
from pyworkflow.project import Manager

from cryosgd_plugin.convert import some_images
from cryosgd_plugin.core.errors import InputError


@pytest.fixture
def form(tmp_path, monkeypatch):
    """(session, form of the ab initio protocol, particles) in a new project."""
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
    session = GuiSession(project.path, tmp_path / "shots", monkeypatch)
    yield session, session.open_from_tree("ProtCryosgdAbInitio"), particles
    session.close()


def test_wizard_is_offered_and_sets_the_field(form, monkeypatch):
    session, window, particles = form
    from cryosgd_plugin import wizards
    found = pw.Config.getDomain().findWizards(window.protocol, "tkinter")
    assert found["particleDiameter"].__name__ == "CryosgdDiameterWizard"
    window.protocol.inputParticles.set(particles)
    dialogs = []
    body = wizards.DiameterDialog.body

    def turn_to_70(dialog, frame):
        body(dialog, frame)
        dialogs.append(dialog)
        dialog.initial_focus.set(70)
    monkeypatch.setattr(wizards.DiameterDialog, "body", turn_to_70)
    session.answers["Particle diameter"] = "OK"
    wizards.CryosgdDiameterWizard().show(window, "particleDiameter")
    assert window.protocol.particleDiameter.get() == 70.0
    assert {circle.get_radius() for circle in dialogs[0]._circles} == {35.0}
    session.answers["Particle diameter"] = "Cancel"
    window.setVar("particleDiameter", 90)
    wizards.CryosgdDiameterWizard().show(window, "particleDiameter")
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

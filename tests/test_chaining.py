"""Ours beside other plugins: RELION's import to our maps, their mask and post-process, back to ours, in one project.

Needs scipion-em-relion and RELION (Debian's 3.1.3 will do); the other plugins are only looked at. `make test-chaining`
brings the plugins.
"""
import atexit
import importlib.util
import os
import shutil
import tempfile
import unittest
from pathlib import Path

import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pwem.protocols import ProtImportMask, ProtImportParticles, ProtImportVolumes
from pyworkflow import Config
from pyworkflow.viewer import DESKTOP_TKINTER

from cryosgd_plugin.convert import table_from_set
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.io.fsc_star import read_fsc
from cryosgd_plugin.io.result_folder import read_json
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.protocols import ProtCryosgdImportParticles, ProtCryosgdPostprocess, ProtCryosgdValidate
from cryosgd_plugin.tests.protocol_project import DATA, Project

PROGRAMS = ("relion_mask_create", "relion_postprocess", "relion_reconstruct")
HALF_MAPS = DATA / "apoferritin" / "halfmaps"
OTHERS = ("chimera", "cryosparc2", "relion")


def is_there(name):
    """Whether another plugin is installed here."""
    return importlib.util.find_spec(name) is not None


def relion_home():
    """A folder that scipion-em-relion takes for RELION: $RELION_HOME, or one with links to the programs on the path.

    The plugin reads the version from the folder's name. None where there is no RELION.
    """
    given = os.environ.get("RELION_HOME")
    if given and os.path.exists(os.path.join(given, "bin", PROGRAMS[0])):
        return given
    found = [shutil.which(program) for program in PROGRAMS]
    if None in found:
        return None
    folder = Path(tempfile.mkdtemp(prefix="cryosgd_relion_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    home = folder / "relion-4.0-path"
    (home / "bin").mkdir(parents=True)
    (home / "lib").mkdir()
    for path in found:
        (home / "bin" / os.path.basename(path)).symlink_to(path)
    return str(home)


def linked(protocol, **inputs):
    """The protocol with these inputs, each (protocol, name of its output)."""
    for name, (source, output) in inputs.items():
        pointer = getattr(protocol, name)
        pointer.set(source)
        pointer.setExtended(output)
    return protocol


class TestChaining(Project):
    """One walk: RELION's import, our ab initio and refine, RELION's mask and post-process, our validate."""

    @classmethod
    def setUpClass(cls):
        if not is_there("relion"):
            raise unittest.SkipTest("scipion-em-relion is not installed here: run `make test-chaining`")
        home = relion_home()
        if home is None:
            raise unittest.SkipTest("RELION is not installed here (neither RELION_HOME nor the path leads to it)")
        import relion
        os.environ["RELION_HOME"] = home        # for the protocols' own processes
        relion.Plugin._defineVariables()        # and here, where it may have been read before
        super().setUpClass()
        cls.star = os.path.abspath(cls.simulation._getExtraPath("run", "particles.star"))
        cls.imported = cls.finished(ProtImportParticles, importFrom=ProtImportParticles.IMPORT_FROM_RELION,
                                    starFile=cls.star, samplingRate=8.0)
        cls.first = cls.launchProtocol(cls.ab_initio(cls.imported))
        cls.refined = cls.launchProtocol(cls.refine(cls.imported, [(cls.first, "outputVolume")], iterations=2))
        level = float(np.quantile(read_volume(cls.refined.outputVolume.getFileName())[0], 0.95))
        cls.mask = cls.new("ProtRelionCreateMask3D", inputVolume=(cls.refined, "outputVolume"),
                           values=dict(initialLowPassFilterA=40.0, threshold=level, extend=2, edge=5))
        cls.launchProtocol(cls.mask)

    @classmethod
    def new(cls, name, values=None, **inputs):
        """A protocol of RELION's plugin, not launched."""
        from relion import protocols
        return linked(cls.newProtocol(getattr(protocols, name), **(values or {})), **inputs)

    def post_processed(self, source, output, mask, **values):
        """RELION's and our post-processing of a map's halves within the same mask."""
        theirs = self.new("ProtRelionPostprocess", inputVolume=(source, output), solventMask=mask,
                          values=dict(relionInput=False, doAutoBfactor=False, bfactor=-100.0, **values))
        ours = linked(self.newProtocol(ProtCryosgdPostprocess, bfactor=-100.0, halfPlane=True),
                      inputVolume=(source, output), inputMask=mask)
        self.assertEqual(ours.validate(), [])
        return self.launchProtocol(theirs), self.launchProtocol(ours)

    def agree(self, theirs, ours):
        """Both found the same curves; the others have random phases in them."""
        curves, expected = (read_fsc(protocol._getExtraPath(*path))[1] for protocol, path in (
            (ours, ("run", "fsc.star")), (theirs, ("postprocess.star",))))
        for column in ("unmasked", "masked"):
            np.testing.assert_allclose(curves[column], expected[column], atol=0.002, err_msg=column)

    def test_their_import_gives_what_ours_does(self):
        ours = self.finished(ProtCryosgdImportParticles, starFile=self.star)
        a, b = table_from_set(self.imported.outputParticles), table_from_set(ours.outputParticles)
        for name in ("stack_index", "defocus_u", "defocus_v", "defocus_angle_deg", "ids"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-6, err_msg=name)
        self.assertEqual([os.path.realpath(path) for path in a.stack_paths],
                         [os.path.realpath(path) for path in b.stack_paths])
        self.assertEqual([(g.voltage_kv, g.cs_mm, g.amplitude_contrast, g.pixel_size) for g in a.optics],
                         [(g.voltage_kv, g.cs_mm, g.amplitude_contrast, g.pixel_size) for g in b.optics])

    def test_our_maps_are_right(self):
        particles = self.refined.outputParticles
        self.assertEqual((particles.getSize(), particles.hasAlignmentProj()), (240, True))
        halves = [read_volume(path)[0] for path in self.refined.outputVolume.getHalfMaps(asList=True)]
        self.assertGreater(fsc(*halves)[4], 0.5)

    def test_their_reconstruction_of_our_poses_is_our_map(self):
        run = self.new("ProtRelionReconstruct", inputParticles=(self.refined, "outputParticles"),
                       values=dict(doCTF=True))
        self.launchProtocol(run)
        theirs = read_volume(run.outputVolume.getFileName())[0]
        ours = read_volume(self.refined.outputVolume.getFileName())[0]
        curve = fsc(theirs, ours)
        self.assertGreater(curve[1:9].min(), 0.9, curve)

    def test_their_reconstruction_of_our_half_is_our_half_map(self):
        run = self.new("ProtRelionReconstruct", inputParticles=(self.refined, "outputParticles"),
                       values=dict(doCTF=True, subset=1))
        self.launchProtocol(run)
        theirs = read_volume(run.outputVolume.getFileName())[0]
        own, other = (fsc(theirs, read_volume(path)[0])[4:12].mean()
                      for path in self.refined.outputVolume.getHalfMaps(asList=True))
        self.assertGreater(own, other + 0.1)

    def test_their_mask_and_post_process_take_our_run_and_our_validation_theirs(self):
        mask = (self.mask, "outputMask")
        theirs, ours = self.post_processed(self.refined, "outputVolume", mask)
        self.agree(theirs, ours)
        of_the_run = self.new("ProtRelionPostprocess", solventMask=mask,
                              values=dict(doAutoBfactor=False, bfactor=-100.0))
        of_the_run.protRefine.set(self.refined)
        self.launchProtocol(of_the_run)
        np.testing.assert_allclose(read_volume(of_the_run.outputVolume.getFileName())[0],
                                   read_volume(theirs.outputVolume.getFileName())[0], rtol=1e-3, atol=1e-6)
        judged = linked(self.newProtocol(ProtCryosgdValidate), inputVolume=(self.refined, "outputVolume"),
                        inputMask=mask, inputParticles=(self.refined, "outputParticles"))
        self.assertEqual((judged.validate(), judged.warnings()), ([], []))
        self.launchProtocol(judged)
        self.assertIn("half-maps agree to", judged.summary()[0])
        self.assertIn("240 views", " ".join(judged.summary()))
        self.assertEqual(judged.outputVolume.getDim(), (32, 32, 32))

    def test_their_half_maps_go_on_to_ours(self):
        """Real half-maps that RELION reconstructed: the number that RELION's own post-process gives."""
        if not HALF_MAPS.is_dir():
            self.skipTest(f"{HALF_MAPS} is not there; set CRYOSGD_TEST_DATA")
        paths = [str(HALF_MAPS / f"half{number}_class001_unfil.mrc") for number in (1, 2)]
        pixel = 2.6667
        volume = self.finished(ProtImportVolumes, filesPath=paths[0], samplingRate=pixel, setHalfMaps=True,
                               half1map=paths[0], half2map=paths[1])
        mask = self.finished(ProtImportMask, maskPath=str(HALF_MAPS / "mask.mrc"), samplingRate=pixel)
        theirs, ours = self.post_processed(volume, "outputVolume", (mask, "outputMask"))
        self.agree(theirs, ours)
        self.assertIn("8.73 A", theirs.summary()[0])
        judged = linked(self.newProtocol(ProtCryosgdValidate, bfactor=-100.0, halfPlane=True),
                        inputVolume=(volume, "outputVolume"), inputMask=(mask, "outputMask"))
        self.launchProtocol(judged)
        self.assertEqual(judged.summary()[0], ours.summary()[0])
        self.assertEqual(judged.outputLocalResolution.getDim(), (72, 72, 72))
        # RELION names the last shell above 0.143, we the place between two shells where the curve falls below
        self.assertAlmostEqual(read_json(ours._getExtraPath("run", "summary.json"))["resolution_a"], 8.73, delta=0.1)


class TestBesideOthers(Project):
    """With other plugins installed all of ours is there, and ours goes into their forms."""

    @classmethod
    def setUpClass(cls):
        missing = [name for name in OTHERS if not is_there(name)]
        if missing:
            raise unittest.SkipTest(f"{', '.join(missing)} not installed here: run `make test-chaining`")
        super().setUpClass()
        cls.domain = Config.getDomain()

    def test_all_of_ours_and_of_theirs_is_listed(self):
        plugins = self.domain.getPlugins()
        self.assertLessEqual({"cryosgd_plugin", *OTHERS}, set(plugins))
        protocols = self.domain.getProtocols()
        for plugin in ("cryosgd_plugin", *OTHERS):
            of_it = [name for name, kind in protocols.items() if kind.__module__.startswith(f"{plugin}.")]
            self.assertGreater(len(of_it), 5, plugin)

    def test_our_outputs_fit_their_forms(self):
        from pyworkflow.object import Pointer
        run = self.launchProtocol(self.ab_initio())
        for name, field, output in (
                ("ProtRelionRefine3D", "inputParticles", "outputParticles"),
                ("ProtRelionRefine3D", "referenceVolume", "outputVolume"),
                ("ProtRelionClassify3D", "referenceVolume", "outputVolume"),
                ("ProtCryoSparcNewNonUniformRefine3D", "inputParticles", "outputParticles"),
                ("ProtCryoSparcNewNonUniformRefine3D", "referenceVolume", "outputVolume"),
                ("ChimeraProtOperate", "inputVolume", "outputVolume")):
            protocol = self.newProtocol(self.domain.getProtocols()[name])
            classes = protocol.getParam(field).pointerClass.get().replace(" ", "").split(",")
            value = Pointer(run, extended=output).get()
            self.assertTrue(set(classes) & {base.__name__ for base in type(value).__mro__}, (name, field, classes))

    def test_our_viewers_are_offered_beside_theirs(self):
        run = self.launchProtocol(self.ab_initio())
        for output in (run.outputVolume, run.outputParticles, run.outputFSC, run):
            found = [viewer.__name__ for viewer in self.domain.findViewers(output, DESKTOP_TKINTER)]
            self.assertTrue(any(name.startswith("Cryosgd") for name in found), (output, found))
        found = [viewer.__name__ for viewer in self.domain.findViewers(run.outputVolume, DESKTOP_TKINTER)]
        self.assertTrue(any("Chimera" in name for name in found), found)

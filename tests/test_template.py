"""The workflow template: Scipion finds it, its fields fill it, and every protocol of it can be executed in its turn."""
import importlib.util
import json
import unittest

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import Volume, VolumeMask

from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.tests.protocol_project import Project
from cryosgd_plugin.workflow_template import filled_template, load_workflow, parsed_template


def outputs_of(protocol):
    """Names of a protocol's outputs, which it states in a dict or an Enum."""
    outputs = protocol.getPossibleOutputs()
    return set(outputs) if isinstance(outputs, dict) else {output.name for output in outputs}


class TestTemplate(Project):
    def test_scipion_finds_and_describes_it(self):
        template = parsed_template()
        self.assertEqual(template.source, "cryosgd")
        self.assertIn("to a validated map", template.description)
        self.assertEqual(sorted(param.getAlias() for param in template.getParams().values()),
                         ["diameter"] * 3 + ["particles"] + ["symmetry"] * 4)

    def test_another_name_is_answered_with_those_there_are(self):
        with self.assertRaisesRegex(ValueError, "no workflow template cryosgd-other; .* cryosgd-particles_to"):
            filled_template("cryosgd-other")

    def test_loaded_into_a_project_each_protocol_can_run_in_its_turn(self):
        star = self.simulation._getExtraPath("run", "particles.star")
        text = filled_template(particles=star, diameter="140", symmetry="C2")
        for protocol in json.loads(text):
            known = self.newProtocol(self.proj.getDomain().getProtocols()[protocol["object.className"]])
            unknown = {name for name in protocol if "." not in name} - {name for name, _ in known.getDefinition(
                ).iterAllParams()}
            self.assertEqual(unknown, set())
        steps = load_workflow(self.proj, text)
        self.assertEqual([step.getObjLabel() for step in steps],
                         [protocol["object.label"] for protocol in json.loads(text)])
        imported, ab_initio, refine, sparse, validate = steps
        for protocol in (ab_initio, refine, sparse, validate):
            self.assertEqual(protocol.symmetry.get(), "C2")
            for _, pointer in protocol.iterInputAttributes():
                self.assertIn(pointer.getExtended(), outputs_of(pointer.getObjValue()))
        self.assertEqual(imported.validate(), [])
        self.launchProtocol(imported)
        ab_initio.finalResolution.set(24.0)     # the sample's pixels of 8 Å hold no more
        self.assertEqual(ab_initio.validate(), [])
        self.give(ab_initio, "outputVolume")
        self.assertEqual(refine.validate(), [])
        self.give(refine, "outputVolume")
        refine._defineOutputs(outputParticles=imported.outputParticles)
        self.assertEqual(sparse.validate(), [])
        self.give(sparse, "outputVolume")
        self.give(sparse, "outputMask", VolumeMask)
        posed = imported.outputParticles
        posed.setAlignmentProj()        # as those of a refinement are
        sparse._defineOutputs(outputParticles=posed)
        self.assertEqual(validate.inputVolume.get().getObjId(), sparse.outputVolume.getObjId())
        self.assertEqual(validate.validate(), [])

    def give(self, protocol, name, kind=Volume):
        """Define an output without a run, its half-maps being the map itself."""
        path = self.getOutputPath(f"{name}.mrc")
        write_volume(path, soft_sphere(32, 8, 3), 8.0)
        volume = kind(location=path)
        volume.setSamplingRate(8.0)
        if kind is Volume:
            volume.setHalfMaps([path, path])
        protocol._defineOutputs(**{name: volume})

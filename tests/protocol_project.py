"""A Scipion project with small simulated particles, for the tests of the protocols."""
import os
import re
import unittest
from pathlib import Path

import pyworkflow as pw
from pyworkflow.object import Pointer
from pyworkflow.project import Manager
from pyworkflow.protocol.params import ElementGroup
from pyworkflow.tests import BaseTest, setupTestProject

from cryosgd_plugin import __version__
from cryosgd_plugin.protocols import ProtCryosgdAbInitio, ProtCryosgdRefine, ProtCryosgdSimulate

DATA = Path(os.environ.get("CRYOSGD_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
TIMEOUT_S = 300


class Project(BaseTest):
    """A project with small simulated particles; each class of tests gets its own."""
    _labels = ["cryosgd"]

    @classmethod
    def setUpClass(cls):
        cls.came_from = os.getcwd()
        if "cryosgd_plugin" not in pw.Config.getDomain().getPlugins():
            raise unittest.SkipTest("CryoSGD is not installed as a plugin here (no entry point): run `make test`")
        pw.Config.getDomain().getProtocols()
        setupTestProject(cls)
        cls.simulation = cls.finished(ProtCryosgdSimulate, nParticles=240, boxSize=32, pixelSize=8.0, snr=0.5)

    @classmethod
    def tearDownClass(cls):
        os.chdir(cls.came_from)

    @classmethod
    def finished(cls, protocol_class, **values):
        protocol = cls.newProtocol(protocol_class, **values)
        assert protocol.validate() == []
        return cls.launchProtocol(protocol)

    @classmethod
    def ab_initio(cls, particles=None, **values):
        """A small and quick ab initio protocol, not launched."""
        values = {"particleDiameter": 140.0, "initialResolution": 60.0, "finalResolution": 24.0, "iterations": 30,
                  "minibatchStart": 30, "minibatchEnd": 60, "numberOfThreads": 2, **values}
        protocol = cls.newProtocol(ProtCryosgdAbInitio, **values)
        protocol.inputParticles.set(particles or cls.simulation)
        protocol.inputParticles.setExtended("outputParticles")
        return protocol

    @classmethod
    def refine(cls, particles=None, references=((None, "outputVolume"),), **values):
        """A small and quick refinement, not launched.

        particles : a protocol, its outputParticles are taken; references : (protocol, name of its output) of each; of
        the simulation where there is none.
        """
        values = {"particleDiameter": 140.0, "initialResolution": 50.0, "iterations": 1,
                  "shiftRange": 12.0, "numberOfThreads": 2, **values}
        protocol = cls.newProtocol(ProtCryosgdRefine, **values)
        protocol.inputParticles.set(particles or cls.simulation)
        protocol.inputParticles.setExtended("outputParticles")
        protocol.inputVolumes.set([Pointer(of or cls.simulation, extended=name) for of, name in references])
        return protocol

    def assert_for_a_paper(self, protocol, *words):
        """Of a finished run: its methods say these words, name the program's version, and cite keys that are known."""
        methods, = protocol._methods()
        for word in (*words, f"CryoSGD {__version__}"):
            self.assertIn(word, methods)
        cited = set(re.findall(r"\[(\w+)\]", methods))
        self.assertLessEqual(cited, set(protocol._citations()))
        self.assertLessEqual(set(protocol._citations()), set(protocol.getCitations()), "in bibtex.py")
        self.assertEqual(self.reopened(protocol)._methods(), [methods], "kept with the run")

    @classmethod
    def reopened(cls, protocol):
        """The protocol as another Scipion would load it from the project's database."""
        return Manager().loadProject(cls.proj.getName(), chdir=False).getProtocol(protocol.getObjId())

    @classmethod
    def updated(cls, protocol):
        """The protocol with what its own process has stored since."""
        cls.proj._updateProtocol(protocol)
        return protocol


def run_with(project, label, **outputs):
    """A run of a project that has these outputs and never ran."""
    protocol = project.newProtocol(ProtCryosgdSimulate)
    protocol.setObjLabel(label)
    project.saveProtocol(protocol)
    protocol._defineOutputs(**outputs)
    return protocol


def relations(protocol, parent):
    """{(relation, id of the output)} that a protocol has noted of another one's outputs."""
    return {(row["name"], row["object_child_id"]) for row in protocol.getRelations()
            if row["object_parent_id"] == parent.getObjId()}


def flat(group):
    """(name, parameter, the group it is in) of a section, its groups and lines included."""
    for name, param in group.iterParams():
        yield name, param, group
        if isinstance(param, ElementGroup):
            yield from flat(param)

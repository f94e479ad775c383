"""Symmetry expansion of particles with poses."""
from __future__ import annotations

from enum import Enum

import numpy as np
import pyworkflow.protocol.params as params
from pwem.objects import SetOfParticles
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from ..convert import particle_tools
from ..core.errors import InputError
from ..core.expansion import expansion_group
from .engine_run import sentence_of
from .kept_methods import PROGRAM, KeptMethods


class ExpandOutputs(Enum):
    outputParticles = SetOfParticles


class ProtCryosgdExpandSymmetry(KeptMethods, EMProtocol):
    """Repeat each particle with all the poses that are equivalent under a point group.

    A refinement under a symmetry gives each particle one of several equivalent poses, so that whatever breaks the
    symmetry (a ligand at one site of many, subunits of several shapes, a pore that opens at one side) is spread over
    all sites. In the expanded set each particle comes once with each of these poses: seen from one site, every site of
    every particle is there. Take it on to a classification without alignment, or a refinement with local searches,
    in C1 and within a mask on one site.

    *You give*: particles with poses on the axes of the group, of a refinement under that symmetry.
    *You get*: the same particles once for each operator, under new ids. The attribute _cryosgdParentId holds the id of
    the particle that a row came from, _cryosgdSymmetryMate which of its poses it has (1 is the one it came with). All
    mates of a particle are in one half-set: two halves that share images agree without any signal.

    Don't search all orientations with an expanded set: that would bring the mates back together.
    """
    _label = "expand symmetry"
    _devStatus = BETA
    _possibleOutputs = ExpandOutputs

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam("inputParticles", params.PointerParam, pointerClass="SetOfParticles",
                      pointerCondition="hasAlignmentProj", important=True, label="Particles",
                      help="Particles with poses (projection alignment) from a refinement under the symmetry below, so "
                           "that they are on its axes. Disabled particles are left out.")
        form.addParam("symmetry", params.StringParam, default="", important=True, label="Symmetry",
                      help="Point group under which the poses were found, in RELION's orientation: C4, D7, T, O, I1 … "
                           "The set becomes 4, 14, 12, 24, 60 times as large; a subgroup (C7 of D7) is allowed where "
                           "only its axes are in question.")
        form.addParam("seed", params.IntParam, default=0, expertLevel=LEVEL_ADVANCED, label="Seed of the half-sets",
                      help="A whole number, 0 or more; any will do. Only where the particles are in no half-sets: "
                           "these are then drawn, by particle. Change it for other halves.")

    # ---- steps
    def _insertAllSteps(self):
        self._insertFunctionStep(self.expandStep, self.inputParticles.getUniqueId(), self.symmetry.get(),
                                 self.seed.get(), needsGPU=False)

    def expandStep(self, particles, symmetry, seed):
        """Write the set, one particle at a time."""
        operators, source = expansion_group(symmetry), self.inputParticles.get()
        output = self._createSetOfParticles()
        count = particle_tools.expand_set(source, output, operators, np.random.default_rng(seed))
        words = [f"{count} particles in {len(operators)} poses each ({symmetry.strip().upper()}): {output.getSize()} "
                 "rows."]
        repeats = particle_tools.repeated_image_count(source)
        if repeats:
            words.append(f"{repeats} of the {source.getSize()} particles show an image that another one shows: if the "
                         "set was expanded before, doing it again only repeats every pose.")
        self.summaryVar.set("\n".join(words))
        self._defineOutputs(**{ExpandOutputs.outputParticles.name: output})
        self._defineSourceRelation(self.inputParticles, output)
        self._keepMethods(f"The particles were symmetry-expanded under {symmetry.strip().upper()} in {PROGRAM}, each "
                          f"with its {len(operators)} equivalent poses [Scheres2016], which gave {output.getSize()} "
                          "particles.")

    # ---- information
    def _validate(self):
        particles = self.inputParticles.get()
        errors = []
        if particles is not None:
            if particles.getSize() == 0:
                errors.append("The input set holds no particles; choose another one.")
            elif not particles.hasAlignmentProj():
                errors.append("The particles have no poses (projection alignment) to expand; choose those of a 3D "
                              "refinement.")
        try:
            expansion_group(self.symmetry.get() or "")
        except InputError as error:
            errors.append(sentence_of(error))
        return errors

    def _warnings(self):
        particles = self.inputParticles.get()
        if particles is None or particles.getSize() == 0:
            return []
        if hasattr(particles.getFirstItem(), particle_tools.PARENT):
            return ["The particles were expanded already: expanding by the same group again only repeats every pose."]
        return []

    def _summary(self):
        return self.summaryVar.get("The particles are not expanded yet.").split("\n")

    def _citations(self):
        return ["Scheres2016"]

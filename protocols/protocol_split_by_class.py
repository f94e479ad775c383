"""The particles of classes as sets of their own."""
from __future__ import annotations

import pyworkflow.protocol.params as params
from pwem.objects import SetOfParticles
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from ..convert.class_tools import split_set
from ..core.classes import check_least, class_numbers
from ..core.errors import InputError
from .engine_run import sentence_of
from .kept_methods import PROGRAM, KeptMethods
from .resumable_run import listed

TOGETHER = "outputParticles"


class ProtCryosgdSplitByClass(KeptMethods, EMProtocol):
    """Take the particles of each class, or of chosen classes, as sets of particles.

    After an ab initio reconstruction of several classes, or any 2D or 3D classification, each class can be taken on by
    itself, or the good ones together.

    *You give*: classes, or particles that know their class.
    *You get*: a set for each class, or one of all chosen classes. Ids, poses and all attributes of the particles stay.

    Particles that may as well be of another class can be left out, where the classification says how sure it is (that
    of this plugin does).
    """
    _label = "split by class"
    _devStatus = BETA
    _possibleOutputs = {TOGETHER: SetOfParticles}

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam("inputClasses", params.PointerParam, important=True, label="Classes or particles",
                      pointerClass="SetOfClasses3D, SetOfClasses2D, SetOfParticles",
                      help="2D or 3D classes, or particles of a classification, which know their class. Disabled ones "
                           "are left out.")
        form.addParam("classes", params.StringParam, default="", label="Which classes",
                      help="Their numbers (ids), such as 1, 3-5. Empty: all.")
        form.addParam("together", params.BooleanParam, default=False, label="All in one set?",
                      help="No: a set for each class. Yes: one set of all classes that are chosen.")
        form.addParam("minPosterior", params.FloatParam, default=0.0, expertLevel=LEVEL_ADVANCED,
                      label="Least posterior",
                      help="Leave out particles whose posterior probability of their own class is below this, 0 to 1. "
                           "Typical 0.9 for pure classes. 0: keep all. Needs classes of this plugin.")

    # ---- steps
    def _insertAllSteps(self):
        self._insertFunctionStep(self.splitStep, self.inputClasses.getUniqueId(), self.classes.get(),
                                 self.together.get(), self.minPosterior.get(), needsGPU=False)

    def splitStep(self, source, classes, together, least):
        """Copy the particles into their sets."""
        outputs = {}

        def output_of(number):
            name = TOGETHER if together else f"{TOGETHER}_class{number:03d}"
            if name not in outputs:
                outputs[name] = self._createSetOfParticles(name[len(TOGETHER):])
            return outputs[name]

        counts = split_set(self.inputClasses.get(), output_of, class_numbers(classes), least)
        if not outputs:
            raise InputError(f"No particle is left: none has a posterior of its class of {least:g} or more. Lower the "
                             "least posterior.")
        self.summaryVar.set("\n".join(f"Class {number}: {count} particles." for number, count in counts.items()))
        self._defineOutputs(**outputs)
        for output in outputs.values():
            self._defineTransformRelation(self.inputClasses, output)
        self._keepMethods(_methods_words(counts, len(outputs), least))

    # ---- information
    def _validate(self):
        errors = []
        for check, value in ((class_numbers, self.classes.get()), (check_least, self.minPosterior.get() or 0.0)):
            try:
                check(value)
            except InputError as error:
                errors.append(sentence_of(error))
        source = self.inputClasses.get()
        if source is not None and source.getSize() == 0:
            errors.append("The input set is empty; choose another one.")
        return errors

    def _summary(self):
        return self.summaryVar.get("The classes are not split yet.").split("\n")


def _methods_words(counts, sets, least):
    numbers = sorted(counts)
    classes = f"classes {listed(numbers)}" if len(numbers) > 1 else f"class {numbers[0]}"
    sure = f", those with a posterior probability of {least:g} or more of their class," if least else ""
    how = ", each by itself," if sets > 1 else ", as one set," if len(counts) > 1 else ""
    return f"{sum(counts.values())} particles of {classes}{sure} were taken on{how} with {PROGRAM}."

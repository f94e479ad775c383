"""What holds of every protocol's form: few fields for everyone, and a help text for each field."""
import re

import pytest

pytest.importorskip("pwem", reason="Scipion (pyworkflow, pwem) is not installed here")

from pyworkflow.protocol.params import ElementGroup, EnumParam, FloatParam, IntParam, Line

from cryosgd_plugin import protocols
from cryosgd_plugin.tests.protocol_project import flat

MOST_FIELDS = 10
OF_SCIPION = ("General", "Parallelization")
GPU_ROW = ("useGpu", "gpuList", "gpuWizard")
# what the label says of a number; one that a form adds has to be put here
UNITS = {"(Å)": "particleDiameter initialResolution finalResolution shiftRange localShift sharedResolution resolution "
                "distance maskExtend maskEdge mtfPixelSize localWindow defocusLow defocusHigh astigmatism shiftSd",
         "(Å/px)": "pixelSize micPixelSize", "(Å²)": "bfactor modelBfactor ctfBfactor", "(kV)": "voltage",
         "(degrees)": "localAngle phaseShiftLow phaseShiftHigh", "(mm)": "sphericalAberration", "(GB)": "memory",
         "(px)": "boxSize", "(%)": "scan", "(sd)": "deviations", "(particles)": "maxParticles",
         "": "significantPoses classSimilarity symmetryStart stepSizeStart stepSizeEnd momentum priorStrength "
             "oversampling certificateShare alpha beta epsilon epsilonRatio gamma amplitudeContrast maskThreshold snr "
             "concentration axisX axisY axisZ minPosterior numberOfClasses restarts seed iterations minibatchStart "
             "minibatchEnd heldOut sagdMinibatch maxFold nParticles particlesPerMicrograph opticsGroups"}
UNIT_OF = {name: unit for unit, names in UNITS.items() for name in names.split()}


def fields(protocol):
    """(name, parameter) in the sections that the protocol itself defines; a line of several is one field."""
    for section in protocol.iterDefinitionSections():
        if section.getLabel() not in OF_SCIPION:
            for name, param, group in flat(section):
                alone = isinstance(param, Line) or not isinstance(param, ElementGroup)
                if alone and not isinstance(group, Line) and name not in GPU_ROW:
                    yield name, param


def visible(protocol):
    """The fields that a user sees who has not asked for the expert's."""
    return [name for name, param in fields(protocol) if not param.isExpert() and protocol.evalParamCondition(name)]


@pytest.mark.parametrize("name", protocols.__all__)
def test_each_form_is_short_and_explains_each_field(name):
    protocol = getattr(protocols, name)()
    shown = visible(protocol)
    assert 0 < len(shown) <= MOST_FIELDS, shown
    assert [field for field, param in fields(protocol) if not param.help.get()] == []


def numbers(protocol):
    """(name, label, help) of the fields for a number; those of a line have its label and help."""
    for section in protocol.iterDefinitionSections():
        if section.getLabel() not in OF_SCIPION:
            for name, param, group in flat(section):
                if isinstance(param, (IntParam, FloatParam)) and not isinstance(param, EnumParam):
                    says = group if isinstance(group, Line) else param
                    yield name, says.getLabel(), says.help.get()


@pytest.mark.parametrize("name", protocols.__all__)
def test_each_number_has_its_unit_and_a_value_to_go_by(name):
    asked = list(numbers(getattr(protocols, name)()))
    assert [(field, label) for field, label, _ in asked if UNIT_OF[field] not in label] == []
    assert [field for field, _, words in asked if not re.search(r"\d|Empty", words)] == []


@pytest.mark.parametrize("values", [{"source": 1}, {"source": 2}, {"poses": 1}, {"source": 1, "poses": 1}])
def test_a_simulation_asks_for_little_whatever_it_is_of(values):
    shown = visible(protocols.ProtCryosgdSimulate(**values))
    assert len(shown) <= MOST_FIELDS, shown
    assert ("inputVolumes" in shown) == (values.get("source") == 1)


@pytest.mark.parametrize("name", protocols.__all__)
def test_a_form_begins_with_its_input_and_shows_short_numbers(name):
    protocol = getattr(protocols, name)()
    first = next(field for section in protocol.iterDefinitionSections() if section.getLabel() not in OF_SCIPION
                 for field, param, _ in flat(section) if field not in ("useGpu", "gpuList"))
    assert first != "gpuWizard"
    long = {field: str(param.default) for field, param in fields(protocol)
            if isinstance(param, FloatParam) and len(str(param.default)) > 6}
    assert long == {}

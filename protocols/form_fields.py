"""What the forms of the engines' protocols share: fields of the expert's part, and fields that were left empty."""
from __future__ import annotations

import re

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from ..core.settings import need


class FilledForm:
    """Mixed into a protocol whose form becomes an engine's config."""

    def _refuseEmptyFields(self):
        # Scipion lets a number that was erased pass where a condition hides its field
        for name, param in self.getDefinition().iterParams():
            if isinstance(param, (params.IntParam, params.FloatParam)) and param.default.hasValue():
                need(getattr(self, name).get() is not None,
                     f"{words_of(name)} is empty; give a number, the default is {param.default.get()}")

    def _pair(self, name):
        """(start, end) of a line with two fields, None where both are empty; InputError for half of it."""
        values = tuple(getattr(self, name + end).get() for end in ("Start", "End"))
        need(values.count(None) != 1,
             f"one of the two fields of the {words_of(name)} is empty; give both, or leave both empty")
        return None if None in values else values


def add(form, name, kind, default, label, **kwargs):
    """An advanced field."""
    form.addParam(name, kind, default=default, expertLevel=LEVEL_ADVANCED, label=label, **kwargs)


def add_choice(form, name, label, known, words, default, **kwargs):
    """An advanced choice among an engine's `known` names, shown in words."""
    add(form, name, params.EnumParam, known.index(default), label,
        choices=[words.get(choice, choice) for choice in known], **kwargs)


def add_pair(form, name, kind, label, help):
    """An advanced line with two fields that may be empty, nameStart and nameEnd."""
    line = form.addLine(label, expertLevel=LEVEL_ADVANCED, help=help)
    for end, word in (("Start", "from"), ("End", "to")):
        line.addParam(f"{name}{end}", kind, default=None, allowsNull=True, expertLevel=LEVEL_ADVANCED, label=word)


def one_of(name, known, wanted):
    """A condition of the form: the choice `name` is one of `wanted`."""
    return " or ".join(f"{name}=={known.index(choice)}" for choice in wanted)


def add_compared_resolution(form):
    """The field of the finest resolution to which maps are compared, `resolution`."""
    form.addParam("resolution", params.FloatParam, default=None, allowsNull=True, label="Compare to (Å)",
                  help="Finest resolution that is compared, coarse enough for the worst of the maps. Typical 10 to 30. "
                       "Empty: 16 Fourier shells, about a tenth of the particle's size, right for most. Finer where "
                       "good maps differ in details only, coarser where noise or flexible parts mislead.")


def words_of(name):
    """particleDiameter → particle diameter."""
    return re.sub(r"(?=[A-Z])", " ", name).lower()

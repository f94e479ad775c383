"""The workflow template, filled and loaded without Scipion's dialog: for the demo and the tests."""
from __future__ import annotations

import json
from pathlib import Path

NAME = "cryosgd-particles_to_validated_map"


def parsed_template(name=NAME):
    """Scipion's Template of this name, its parameters read; ValueError where no plugin offers it."""
    from pyworkflow.template import TemplateList
    templates = TemplateList()
    templates.addPluginTemplates()
    found = {one.getObjId(): one for one in templates.templates}
    if name not in found:
        raise ValueError(f"there is no workflow template {name}; those of the plugins are: {', '.join(sorted(found))}")
    found[name].replaceEnvVariables()
    found[name].parseContent()
    return found[name]


def filled_template(name=NAME, **values) -> str:
    """The template's workflow as JSON text, its fields set by their aliases."""
    template = parsed_template(name)
    for alias, value in values.items():
        template.setParamValue(alias, value)
    path = Path(template.createTemplateFile())
    text = path.read_text(encoding="utf-8")
    path.unlink()
    return text


def load_workflow(project, text) -> list:
    """The protocols of a workflow in JSON text, in its order and under its labels, in a project."""
    loaded = project.loadProtocols(jsonStr=text)
    for one in json.loads(text):
        # pyworkflow drops a workflow's labels on the way
        loaded[one["object.id"]].setObjLabel(one["object.label"])
    return list(loaded.values())

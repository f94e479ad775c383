"""One page about runs, to read and to pass on: what came out in words, figures, pictures, settings; a single HTML file.

Pictures are held within the page, so that it can be sent or printed (to PDF, by any browser) without its run folders.
"""
from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html import escape

from .agreement import CONSENSUS_JSON
from .files import atomic_write
from .result_folder import MODEL_FOLDER, PICTURES, ResultFolder, read_json

# parts of a validation's summary.json, each of which says its own
PARTS = ("postprocess", "local_resolution", "directional", "sampling", "model")
# entries of summary.json, or of a part of it, that a reader asks for first: (key, name, unit, format)
FIGURES = (
    ("n_particles", "particles", "", "d"), ("resolution_a", "resolution", "Å", ".2f"),
    ("local_median_a", "local resolution, median", "Å", ".1f"), ("fsc_0.5_a", "agrees with the model to", "Å", ".2f"),
    ("area_ratio", "weakest by best direction (area ratio)", "", ".2f"),
    ("scf_star", "evenness of the views (SCF*)", "", ".2f"),
    ("iterations_done", "iterations", "", "d"), ("bfactor", "B-factor", "Å²", ".0f"),
    ("total_seconds", "time", "min", ".1f"), ("cpu_seconds", "CPU time", "min", ".1f"),
    ("peak_memory_gb", "peak memory", "GB", ".2f"), ("device", "device", "", ""), ("threads", "threads", "", "d"),
    ("seed", "seed", "", "d"), ("version", "cryosgd", "", ""))
MINUTES = {"total_seconds", "cpu_seconds"}
# what a reader looks at first; the others follow by name
FIRST_PICTURES = ("volume", "surface", "class001", "fsc", "views", "convergence")
STYLE = """body { font: 15px/1.5 sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222 }
h2 { border-top: 1px solid #bbb; padding-top: .8em }
td { padding: .1em 1.2em .1em 0 }
.figures { margin: 1em 0 } .figures span { display: inline-block; margin: 0 1.6em .6em 0 } .figures b { display: block }
.warning { color: #a30000 } figure { display: inline-block; margin: .4em; vertical-align: top; width: 30em }
figure img { width: 100% } figcaption { color: #666; font-size: 85% } details { color: #555; font-size: 85% }
@media print { figure { width: 47%; break-inside: avoid } details { display: none } }"""


@dataclass
class Section:
    """Of one run: its outcome in sentences, what was warned of, figures as (name, value) text, pictures (paths), and
    the settings that made it, name → value."""

    title: str
    outcome: list
    warnings: list = field(default_factory=list)
    figures: list = field(default_factory=list)
    pictures: list = field(default_factory=list)
    settings: dict = field(default_factory=dict)


def run_section(folder: ResultFolder, title: str) -> Section:
    """What a finished run's folder says of it, or what there is of one that goes on."""
    summary, job = folder.summary(), folder.job() or {}
    if summary is None:
        outcome = ["The run has not ended."]
        summary = {}
    else:
        outcome = _listed(summary.get("outcome"))
    parts = [summary, *(summary[name] for name in PARTS if name in summary)]
    known = {key: value for part in reversed(parts) for key, value in part.items()}
    known["local_median_a"] = (known.get("local_a") or {}).get("median")
    figures = []
    for key, name, unit, style in FIGURES:
        value = known.get(key)
        if value is not None:
            value = value / 60 if key in MINUTES else value
            figures.append((name, f"{format(value, style)} {unit}".strip()))
    warnings = [warning for part in parts for warning in _listed(part.get("warnings"))]
    return Section(title, outcome, warnings, figures, _pictures(folder.folder),
                   job.get("parameters") or summary.get("parameters") or {})


def consensus_section(folder: ResultFolder, title: str) -> Section:
    """What the folder of `cryosgd consensus` says of the maps that were compared."""
    report = read_json(folder.folder / CONSENSUS_JSON)
    figures = [("maps", str(len(report["maps"]))), ("of them agree", str(sum(one["agrees"] for one in report["maps"])))]
    return Section(title, [report["verdict"]], figures=figures, pictures=_pictures(folder.folder))


def write_report(path, title: str, sections) -> None:
    """Write the page of some Sections. Raises InputError where it can't be written."""
    body = "\n".join(_section(section) for section in sections)
    page = (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
            f"<style>\n{STYLE}\n</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n")
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _section(section):
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(sentence)}</p>" for sentence in section.outcome]
    parts += [f'<p class="warning">{escape(warning)}</p>' for warning in section.warnings]
    if section.figures:
        spans = " ".join(f"<span>{escape(name)} <b>{escape(value)}</b></span>" for name, value in section.figures)
        parts.append(f'<div class="figures">{spans}</div>')
    parts += [_figure(picture) for picture in section.pictures]
    if section.settings:
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>"
                       for name, value in section.settings.items())
        parts.append(f"<details><summary>Settings</summary><table>{rows}</table></details>")
    return "\n".join(parts)


def _figure(path):
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    name = escape(path.stem.replace("_", " "))
    return f'<figure><img src="data:image/png;base64,{data}" alt="{name}"><figcaption>{name}</figcaption></figure>'


def _pictures(folder):
    """The pictures of a folder: its own, those in pictures/, and those of its comparison with a model."""
    found = [path for place in (folder, folder / PICTURES, folder / MODEL_FOLDER / PICTURES)
             for path in sorted(place.glob("*.png"))]
    return sorted(found, key=lambda path: FIRST_PICTURES.index(path.stem) if path.stem in FIRST_PICTURES else
                  len(FIRST_PICTURES))


def _listed(words):
    return [words] if isinstance(words, str) else list(words or [])

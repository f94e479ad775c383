"""`cryosgd report`: runs on one page."""
from __future__ import annotations

from ..core.errors import InputError
from ..io.agreement import CONSENSUS_JSON
from ..io.files import check_absent
from ..io.report import consensus_section, run_section, write_report
from ..io.result_folder import ResultFolder


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "report", help="outcome, figures and pictures of runs on one HTML page",
        description="Puts what came out of some runs on one page, in the order given: outcome and warnings in words, "
                    "figures, pictures, settings. The page holds its pictures, so that it can be passed on alone, and "
                    "any browser prints it to PDF.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("runs", nargs="+", metavar="DIR",
        help="folders of runs: abinitio, refine, sparse-tv, validate, consensus and so on")
    add("-o", "--output", required=True, metavar="HTML", help="the page to write")
    add("--title", default="CryoSGD", help="heading of the page (default %(default)s)")
    add("--overwrite", action="store_true", help="replace a page that exists (default: refuse)")


def run(arguments) -> int:
    """Write the page; raises InputError where a folder is no run's, or before anything of the user's is replaced."""
    check_absent(arguments.output, arguments.overwrite)
    sections = []
    for path in arguments.runs:
        folder = ResultFolder(path)
        if folder.summary() is not None or folder.job() is not None:
            program = (folder.job() or {}).get("program")
            sections.append(run_section(folder, f"{folder.folder.name} ({program})" if program else folder.folder.name))
        elif folder.path(CONSENSUS_JSON) is not None:
            sections.append(consensus_section(folder, f"{folder.folder.name} (consensus)"))
        else:
            raise InputError(f"{path} is no run folder: it has none of job.json, summary.json and {CONSENSUS_JSON}; "
                             "give what was the command's -o (symmetry and align write files, which no page is made "
                             "of)")
    write_report(arguments.output, arguments.title, sections)
    print(f"wrote {arguments.output}")
    return 0

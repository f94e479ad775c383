"""`cryosgd <command>`: the engines without Scipion. Exit code 0, or 1 for bad input with one clear sentence."""
from __future__ import annotations

import argparse
import importlib
import sys

from ..core.errors import InputError

# each module offers add_parser(subparsers), which sets `run` on its parser; kept lazy so that --help is quick
COMMANDS = ("abinitio", "refine", "sparse_tv", "simulate", "fsc", "postprocess", "model_fsc", "local_resolution",
            "validate", "report", "align", "compare", "symmetry", "consensus", "flip_hand", "expand_symmetry",
            "remove_duplicates", "split_by_class", "convert")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    from .. import __version__
    parser = argparse.ArgumentParser(
        prog="cryosgd", description="From particle images to a 3D map: ab initio reconstruction and its tools.")
    parser.add_argument("--version", action="version", version=f"cryosgd {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f".{name}", __name__).add_parser(subparsers)
    return parser


def main(argv=None) -> int:
    """Run one command; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except InputError as error:
        print(f"cryosgd {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"cryosgd {arguments.command}: interrupted; the run folder keeps its last checkpoint, "
              "go on with --continue", file=sys.stderr)
        return 130

"""What the benchmarks share: simulated sets, timed runs, maps judged by the truth, tables and pictures.

Every run is a process of its own and is timed from outside: wall seconds, and CPU seconds with its threads, children,
imports and compilation. A benchmark writes NAME.json, NAME.csv and NAME.png into its output folder, beside the run
folders; `--reuse` takes the finished ones among these as they are, so that an interrupted benchmark goes on.
"""
from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cryosgd_plugin.cli import abinitio as cli_abinitio
from cryosgd_plugin.core.masks import soft_mask_from_volume
from cryosgd_plugin.core.particles import ParticleTable
from cryosgd_plugin.core.shells import crossing_resolution, fsc
from cryosgd_plugin.engines.abinitio.engine import AbInitio
from cryosgd_plugin.engines.abinitio.memory import plan_lanes
from cryosgd_plugin.engines.align import Alignment, align_volume
from cryosgd_plugin.engines.reconstruct import reconstruct
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.source import ParticleSource
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.io.volumes import read_volume

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CRYOSGD_TEST_DATA", ROOT.parent / "shared" / "data"))
# a map passes where it reaches FSC 0.5 at this many times the Å of a reconstruction with the true poses
ALLOWED = 1.3
# what every table says of the peer that it holds us against
PEER_BUILD = "RELION 3.1.3, Debian's double precision build without the accelerated CPU path"
# of an engine that a benchmark looks inside
MEMORY_GB = 4.0
# how a set or a run was made and what it cost, in its folder
RECORD = "benchmark.json"


class CommandFailed(RuntimeError):
    """A process ended with an error; the message has its last lines."""


def command_line(doc: str, *, seeds: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False, epilog="What follows -- goes to `cryosgd abinitio` as it is.")
    parser.add_argument("--seeds", type=seed_range, default=range(seeds), metavar="N",
                        help=f"runs with seeds 0 to N-1, or with those of FIRST-LAST ({seeds})")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="CPU threads of a run (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="results and run folders")
    parser.add_argument("--reuse", action="store_true", help="take the finished sets and runs in DIR as they are")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="test data (%(default)s)")
    return parser


def seed_range(words: str) -> range:
    """The seeds of "5" (0 to 4) or of "3-4"."""
    first, dash, last = words.partition("-")
    return range(int(first), int(last) + 1) if dash else range(int(words))


def add_final_resolution(parser, default: float = 10.0):
    """The option that ends runs beyond what the set's true poses give (the phantom's), not at 12 Å before it."""
    parser.add_argument("--final-resolution", type=float, default=default, metavar="A",
                        help="of the runs (%(default)g)")


def parsed(parser, words=None) -> argparse.Namespace:
    """The arguments, with what follows `--` as a list in `options`; makes the output folder."""
    words = list(sys.argv[1:] if words is None else words)
    cut = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:cut])
    arguments.options = words[cut + 1:]
    arguments.output = arguments.output.absolute()
    arguments.output.mkdir(parents=True, exist_ok=True)
    return arguments


# ---- processes
@dataclass(frozen=True)
class Run:
    """A finished run or simulation: its folder, wall seconds, CPU seconds and the most memory it held, GB (nan where
    its record is older than that figure)."""

    folder: Path
    seconds: float
    cpu: float
    memory_gb: float = float("nan")

    @property
    def results(self) -> ResultFolder:
        return ResultFolder(self.folder)

    def volume(self, structure: int = 0):
        """(d, d, d) float32: the final map."""
        return read_volume(self.results.volume(structure))[0]


def timed(command, log):
    """(wall seconds, CPU seconds, GB of its largest resident set) of a command whose output goes to the file `log`.
    Raises CommandFailed."""
    start = time.perf_counter()
    with open(log, "wb") as file:
        process = subprocess.Popen([os.fspath(word) for word in command], stdout=file, stderr=subprocess.STDOUT)
        # of this process and the children that it waited for, and of no other
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = Path(log).read_text(encoding="utf-8", errors="replace")[-1500:]
        raise CommandFailed(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{last}")
    # Linux counts in KiB
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def abinitio(particles, folder, *words, reuse: bool = False) -> Run:
    """`cryosgd abinitio PARTICLES -o FOLDER WORDS`, or the finished run of these words that is there already."""
    return engine_run("abinitio", particles, folder, *words, reuse=reuse)


def engine_run(command, particles, folder, *words, reuse: bool = False) -> Run:
    """`cryosgd COMMAND PARTICLES -o FOLDER WORDS`, or the finished run of these words that is there already."""
    words = [os.fspath(particles), *(str(word) for word in words)]
    known = _record(folder)
    if folder.exists() and not reuse:
        raise SystemExit(f"{folder} exists; give --reuse to take it as it is, or another -o")
    if known is not None:
        if known["words"] != words:
            raise SystemExit(f"{folder} was run with {' '.join(known['words'])}; give another -o")
        return Run(folder, known["seconds"], known["cpu"], known.get("memory_gb", float("nan")))
    # what was interrupted begins anew: the CPU time of its first part is not known
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    used = timed([sys.executable, "-m", "cryosgd_plugin.cli", command, words[0], "-o", folder, *words[1:]],
                 f"{folder}.log")
    _keep_record(folder, words, *used)
    return Run(folder, *used)


def engine_for(particles, *words, threads: int = 1, seed: int = 0, memory_gb: float = MEMORY_GB):
    """(AbInitio, ParticleSource) as `cryosgd abinitio PARTICLES WORDS` would build them, to look inside; CPU only."""
    parser = argparse.ArgumentParser()
    cli_abinitio.add_parser(parser.add_subparsers())
    table = read_particles(particles)
    arguments = parser.parse_args(["abinitio", os.fspath(particles), "-o", "", "--seed", str(seed),
                                   *(str(word) for word in words)])
    config = cli_abinitio.make_config(arguments, table)
    box = plan_lanes(config, memory_gb, threads)[1]
    source = ParticleSource(table, box_size=box, diameter_a=config.diameter_a, threads=threads)
    source.invert = source.check_sample()[1]
    return AbInitio(config, table, source, threads=threads), source


# ---- simulated sets
@dataclass
class SimulatedSet:
    """Particles with known truth; truths : list of (d, d, d); table : true poses, class_id; pixel : Å/px."""

    folder: Path
    table: ParticleTable
    truths: list
    pixel: float
    summary: dict

    @property
    def star(self) -> Path:
        """The particles without their poses."""
        return self.folder / "particles.star"

    @property
    def diameter(self) -> float:
        """Å, a whole number."""
        return float(round(self.summary["diameter_a"]))

    @property
    def words(self) -> str:
        """What a reader needs to know of the set."""
        return (f"{self.folder.name}: {len(self.table)} particles, {self.table.box_size} px, {self.pixel:g} Å/px, "
                f"SNR {self.summary['snr']:.3g}, p² = {self.summary['snr_energy_p2']:.0f}, "
                f"diameter {self.diameter:g} Å")

    def oracle(self, structure: int = 0, rows=None):
        """The map that the true poses (and structures) give, (d, d, d) float32."""
        members = self.table.class_id == structure + 1 if rows is None else rows
        members = np.flatnonzero(members) if np.asarray(members).dtype == bool else members
        with ParticleSource(self.table, box_size=self.table.box_size, diameter_a=self.diameter) as source:
            source.invert = self.summary["parameters"]["contrast"] == "black"
            return reconstruct(source, self.table, rows=members)

    def oracle_resolution(self, structure: int = 0, rows=None) -> float:
        """Å at which that map's FSC to the truth falls below 0.5."""
        return judge(self.oracle(structure, rows), self.truths[structure], self.pixel, align=False).resolution_a


def simulated(folder, *words, reuse: bool = False) -> SimulatedSet:
    """`cryosgd simulate -o FOLDER WORDS`, or the set of these words that is there already."""
    words = [str(word) for word in words]
    known = _record(folder)
    if not (reuse and known is not None and known["words"] == words):
        folder.mkdir(parents=True, exist_ok=True)
        used = timed([sys.executable, "-m", "cryosgd_plugin.cli", "simulate", "-o", folder, "--overwrite", *words],
                     f"{folder}.log")
        _keep_record(folder, words, *used)
    return read_set(folder)


def read_set(folder) -> SimulatedSet:
    """The set in a folder that `cryosgd simulate` wrote."""
    table = read_particles(folder / "truth.star")
    paths = sorted(folder.glob("truth_volume*.mrc"))
    if table.class_id is None:
        table.class_id = np.ones(len(table), np.int32)
    return SimulatedSet(folder, table, [read_volume(path)[0] for path in paths], table.pixel_size,
                        json.loads((folder / "summary.json").read_text(encoding="utf-8")))


def phantom(arguments, *words, particles: int, snr: float, name: str = "phantom") -> SimulatedSet:
    """The built-in phantom (155 kDa of polyalanine, 190 Å) at 64 px of 4 Å/px; words : more for `cryosgd simulate`."""
    return simulated(arguments.output / "sets" / name, "--particles", particles, "--box", 64, "--pixel-size", 4,
                     "--snr", snr, "--shift-sd", 4, "--defocus", 10000, 25000, "--seed", 1, *words,
                     reuse=arguments.reuse)


def ribosome(arguments, *, particles: int, snr: float) -> SimulatedSet:
    """ASPIRE's 70S ribosome at 64 px of 5 Å/px (its header states no pixel size, ASPIRE's gallery says 5 Å)."""
    return simulated(arguments.output / "sets" / "ribosome", "--map",
                     arguments.data / "aspire_reference" / "clean70SRibosome_vol_65p.mrc", "--map-pixel-size", 5,
                     "--particles", particles, "--box", 64, "--pixel-size", 5, "--snr", snr, "--shift-sd", 4,
                     "--defocus", 10000, 25000, "--seed", 1, reuse=arguments.reuse)


# ---- judging
@dataclass(frozen=True)
class Judged:
    """A map against the truth: FSC curve (shells,), Å at FSC 0.5, how it was aligned, the aligned map."""

    curve: np.ndarray
    resolution_a: float
    alignment: Alignment
    aligned: np.ndarray


def truth_mask(truth):
    """A soft mask around the true density, (d, d, d): a tenth of its peaks, grown by 2 px, with an edge of 4 px."""
    return soft_mask_from_volume(truth, 0.1 * np.percentile(truth, 99.5), 2, 4)


def judge(volume, truth, pixel: float, *, align: bool = True) -> Judged:
    """FSC within the truth's mask, after the map was brought onto it in the better hand (or left, align=False)."""
    alignment = align_volume(volume, truth, radius=len(truth) // 3) if align else Alignment(
        np.eye(3), np.zeros(3), False, 1.0)
    aligned = alignment.apply(volume) if align else volume
    curve = fsc(aligned, truth, mask=truth_mask(truth))
    return Judged(curve, crossing_resolution(curve, 0.5, len(truth), pixel), alignment, aligned)


# ---- results
class Report:
    """Rows of figures, and bars that they are held against; NAME.json is there after every row.

    about : what stands above the table; facts : further figures for the JSON file.
    """

    def __init__(self, name: str, folder, about: str):
        self.name, self.folder, self.about = name, Path(folder), about
        self.rows, self.facts, self.bars = [], {}, []
        print(about, flush=True)

    def add(self, **row):
        """Take a row, and print it."""
        self.rows.append(row)
        self._save_json()
        print("  " + ", ".join(f"{key} {_shown(value)}" for key, value in row.items()), flush=True)

    def bar(self, passed, words: str):
        """Hold the figures against a bar; `words` says which and what came."""
        self.bars.append(dict(passed=bool(passed), bar=words))

    def finish(self) -> int:
        """Print the table and the bars, write JSON and CSV; 0 where every bar is passed."""
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        cells = [columns] + [[_shown(row.get(key, "")) for key in columns] for row in self.rows]
        widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
        print(f"\n{self.about}")
        for line in cells:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        for bar in self.bars:
            print(f"{'PASS' if bar['passed'] else 'FAIL'}: {bar['bar']}", flush=True)
        with open(self.folder / f"{self.name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        self._save_json()
        print(f"Written: {self.folder / self.name}.json, .csv, .png")
        return 0 if all(bar["passed"] for bar in self.bars) else 1

    def _save_json(self):
        text = json.dumps(plain(dict(about=self.about, rows=self.rows, bars=self.bars, **self.facts)), indent=1,
                          ensure_ascii=False)
        (self.folder / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")


def figure(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    made = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(made)
    return made


def plot_fsc(axes, curves: dict, box: int, pixel: float, **style):
    """FSC curves, name → (shells,), over spatial frequency, with the line at 0.5."""
    for name, curve in curves.items():
        shells = np.arange(1, len(curve))
        axes.plot(shells / (box * pixel), curve[1:], label=name, linewidth=1.3, **style)
    axes.axhline(0.5, color="0.6", linewidth=0.8, linestyle="--")
    axes.set(xlabel="spatial frequency (1/Å)", ylabel="FSC", ylim=(-0.1, 1.05))
    axes.legend(fontsize=7)


def sheet(path, rows: dict, columns, section=None):
    """A sheet of slices: rows, name → list of maps (d, d, d) or None, each in its own grey scale; section : (axis,
    index) of the slice, by default the central one across z."""
    made = figure(1.7 * len(columns) + 1.2, 1.7 * len(rows) + 0.4)
    for number, (name, volumes) in enumerate(rows.items()):
        for column, volume in enumerate(volumes):
            axes = made.add_subplot(len(rows), len(columns), number * len(columns) + column + 1)
            axes.set(xticks=[], yticks=[])
            if number == 0:
                axes.set_title(columns[column], fontsize=9)
            if column == 0:
                axes.set_ylabel(name, fontsize=9)
            if volume is None:
                axes.set_axis_off()
            else:
                axis, index = section or (0, len(volume) // 2)
                slice_ = np.take(volume, index, axis=axis)
                axes.imshow(slice_, cmap="gray", origin="lower", vmin=min(0.0, np.percentile(slice_, 1)),
                            vmax=np.percentile(slice_, 99.8))
    made.savefig(path)


def plain(value):
    """JSON's own types; what is not finite becomes None."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _shown(value) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        if value and abs(value) < 1e-3:
            return f"{value:.2e}"
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _record(folder):
    """What RECORD says in a folder, or None."""
    path = folder / RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _keep_record(folder, words, seconds, cpu, memory_gb):
    record = dict(words=words, seconds=seconds, cpu=cpu, memory_gb=memory_gb)
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")

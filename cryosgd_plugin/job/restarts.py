"""The same ab initio job from several random starts, and whether the results agree (paper 1 §4.5, Fig. 12).

    restart_01/ restart_02/ …  whole run folders, one a seed
    restarts.json  restarts_fsc.star  pictures/restarts.png  restarts/consensus.mrc  restarts/restart_01.mrc …

and, as if it were one run, the files of the restart that agrees best with the others, in whose frame the maps in
restarts/ are. Of several classes each has its own comparison, in a frame of its own (class001_restarts_fsc.star,
restarts/class001_consensus.mrc, …). The consensus has no half-maps: the restarts are of the same images, whose noise
both halves would share.
"""
from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import __version__
from ..core.errors import InputError
from ..engines.consensus import compare_maps, match_classes
from ..io.agreement import RESTARTS, RESTARTS_FSC, RESTARTS_JSON, agreement_of, write_mean_fsc
from ..io.consensus_pictures import save_agreement_png
from ..io.files import explained
from ..io.result_folder import CHECKPOINT, JOB, LOCK, PICTURES, PROGRESS, SUMMARY, ResultFolder, read_json, result_name
from ..io.runfolder import RunFolder, write_json
from ..io.stacks import check_stacks
from ..io.volumes import read_volume, write_volume
from .abinitio import AbInitioJob
from .identity import refuse_other_job

# what belongs to one run alone and is not taken over from the chosen one
OWN = {JOB, LOCK, CHECKPOINT, SUMMARY, PROGRESS, PICTURES}


class RestartsJob:
    """`restarts` runs of AbInitioJob with seeds config.seed, config.seed + 1 …; a context manager.

    Arguments are those of AbInitioJob. Raises InputError for whatever is wrong with the input, before computing.
    """

    def __init__(self, folder, table, config, *, restarts: int, source_file: str, resume: bool = False, **options):
        if restarts < 2:
            raise InputError(f"{restarts} restarts can't be compared; give 2 or more")
        check_stacks(table)  # before there is a folder; each restart warns of the rest
        self.table, self.config, self.restarts = table, config, restarts
        self.options = dict(options, source_file=source_file)
        present = resume and (Path(folder) / JOB).exists()
        job = dict(program="abinitio-restarts", version=__version__, particles=source_file, n_particles=len(table),
                   parameters=config.to_dict(), restarts=restarts)
        self.folder = RunFolder(folder, resume=present)
        try:
            if present:
                refuse_other_job(self.folder, job, ("program", "version", "parameters", "restarts"))
            else:
                self.folder.write_job(job)
        except BaseException:
            self.folder.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.folder.close()

    def run(self) -> dict:
        """Run what is not finished, then compare; returns the summary."""
        if self.folder.path(SUMMARY).exists():
            print(f"These runs are finished: see {self.folder.path(SUMMARY)}.", flush=True)
            return {}
        for number in range(self.restarts):
            seed = self.config.seed + number
            print(f"Restart {number + 1} of {self.restarts}, seed {seed}:", flush=True)
            with AbInitioJob(self._path(number), self.table, replace(self.config, seed=seed), resume=True,
                             **self.options) as job:
                job.run()
        print("Comparing the maps of all restarts:", flush=True)
        return self._compare()

    def _path(self, number) -> Path:
        return self.folder.path(f"restart_{number + 1:02d}")

    def _compare(self):
        config, classes = self.config, self.config.classes
        names = [self._path(number).name for number in range(self.restarts)]
        runs = [[read_volume(ResultFolder(self._path(number)).volume(k))[0] for k in range(classes)]
                for number in range(self.restarts)]
        radius = max(3, int(config.box_size * config.pixel_size / config.final_resolution_a))
        orders = match_classes(runs, radius=radius)[0] if classes > 1 else [[0]] * self.restarts
        with explained("make", self.folder.path(RESTARTS)):
            self.folder.path(RESTARTS).mkdir(exist_ok=True)
        found, reports = [], []
        for k in range(classes):
            # a class without a partner in another run is compared without that run
            with_partner = [number for number in range(self.restarts) if orders[number][k] >= 0]
            if len(with_partner) < 2:
                raise InputError(f"class {k + 1} of the first restart has no counterpart in any other; look at the "
                                 "maps of each restart, and try fewer classes")
            consensus = compare_maps([runs[number][orders[number][k]] for number in with_partner], radius=radius,
                                     pixel_size=config.pixel_size, diameter_a=config.diameter_a,
                                     names=[names[number] for number in with_partner])
            found.append(consensus)
            reports.append(self._write_class(k, consensus, with_partner, orders))
        chosen = self._best(found)
        verdict = " ".join(report["verdict"] if classes == 1 else f"Class {k + 1}: {report['verdict']}"
                           for k, report in enumerate(reports))
        write_json(self.folder.path(RESTARTS_JSON), {**(reports[0] if classes == 1 else {"classes": reports}),
                                                     "verdict": verdict, "chosen": names[chosen]})
        self._take_over(chosen)
        summary = read_json(self._path(chosen) / SUMMARY)
        summary.update(outcome=f"{verdict} Shown is {names[chosen]}: {summary['outcome']}", restarts=self.restarts,
                       chosen=names[chosen], verdict=verdict, parameters=config.to_dict())
        for name in ("total_seconds", "cpu_seconds"):
            summary[name] = sum(read_json(self._path(number) / SUMMARY)[name] for number in range(self.restarts))
        self.folder.write_summary(summary)
        print(verdict, flush=True)
        return summary

    def _best(self, found) -> int:
        """The restart whose maps have the highest FSC to the others of their largest groups, summed over classes."""
        likeness = np.zeros(self.restarts)
        for consensus in found:
            rows = [consensus.used.index(i) for i in consensus.clusters[0]]
            for row in rows:
                number = int(consensus.names[consensus.used[row]].rsplit("_", 1)[1]) - 1
                likeness[number] += consensus.similarity[row, rows].sum()
        return int(likeness.argmax())

    def _write_class(self, k, consensus, numbers, orders):
        pixel, classes, folder = self.config.pixel_size, self.config.classes, self.folder.path(RESTARTS)
        prefix = "" if classes == 1 else f"class{k + 1:03d}_"
        maps = []
        for row, volume in zip(consensus.used, consensus.aligned):
            name = consensus.names[row]
            write_volume(folder / f"{prefix}{name}.mrc", volume, pixel)
            number = numbers[row]
            maps.append(dict(name=name, file=f"{RESTARTS}/{prefix}{name}.mrc", seed=self.config.seed + number,
                             agrees=row in consensus.clusters[0], class_number=int(orders[number][k]) + 1))
        write_volume(folder / f"{prefix}consensus.mrc", consensus.consensus, pixel)
        write_mean_fsc(self.folder.path(result_name(RESTARTS_FSC, k, classes)), consensus.mean, consensus.std,
                       box_size=consensus.box_size, pixel_size=pixel)
        report = dict(consensus.report(), maps=maps, consensus=f"{RESTARTS}/{prefix}consensus.mrc")
        save_agreement_png(self.folder.path(PICTURES) / f"{prefix}restarts.png",
                           agreement_of(report, self.folder.folder),
                           title=f"{len(maps)} restarts" + (f", class {k + 1}" if classes > 1 else ""))
        return report

    def _take_over(self, chosen):
        """Copy the results of the chosen restart: files, its history and its pictures."""
        source = self._path(chosen)
        with explained("copy the results into", self.folder.folder):
            for path in sorted(source.iterdir()):
                if path.name not in OWN:
                    shutil.copyfile(path, self.folder.path(path.name))
            for path in sorted((source / PICTURES).iterdir()):
                shutil.copyfile(path, self.folder.path(PICTURES) / path.name)

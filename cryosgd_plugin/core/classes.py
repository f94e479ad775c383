"""Particles by their class: which classes are asked for, and which particles are surely of one."""
from __future__ import annotations

import re

import numpy as np

from .particles import ParticleTable
from .settings import need


def posterior_tag(number: int) -> str:
    """The column with each particle's posterior probability of class `number` (from 1), as the engines write it."""
    return f"cryosgdClass{number:03d}Posterior"


def class_rows(table: ParticleTable, wanted=None, least=0.0) -> dict:
    """class number → its rows in the table's order, for the classes of `wanted` (None: all that have particles).

    least : leave out particles whose posterior of their own class is below it.
    Raises InputError: no classes, a class without particles, no posteriors where least > 0.
    """
    need(table.class_id is not None, "the particles have no classes (rlnClassNumber); give those of a classification")
    check_least(least)
    chosen = check_wanted(wanted, np.unique(table.class_id).tolist())
    rows = {}
    for number in chosen:
        rows[number] = np.flatnonzero(table.class_id == number)
        if least > 0:
            tag = posterior_tag(number)
            need(tag in table.extra, f"the particles have no column {tag}, so how sure their class is can't be told; "
                 "leave the least posterior out")
            rows[number] = rows[number][np.asarray(table.extra[tag]).astype(np.float64)[rows[number]] >= least]
    return rows


def check_wanted(wanted, present) -> list:
    """The classes of `wanted` in order, each once, or all of `present` for None; InputError for one that is absent."""
    chosen = sorted(set(present if wanted is None else wanted))
    absent = [number for number in chosen if number not in present]
    need(not absent, f"class {', '.join(map(str, absent))} has no particles; those with particles are "
         f"{', '.join(map(str, sorted(present)))}")
    return chosen


def check_least(least) -> None:
    """Raise InputError where a least posterior is none."""
    need(0 <= least <= 1, f"the least posterior {least:g} is no probability; give a number from 0 to 1")


def class_numbers(text) -> list | None:
    """The class numbers of a text such as "1, 3-5"; None for an empty one. InputError for what is no such text."""
    parts = [part for part in re.split(r"[,\s]+", text or "") if part]
    numbers = []
    for part in parts:
        match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        need(match, f"'{part}' is no class number; give numbers and ranges such as 1, 3-5")
        first, last = int(match.group(1)), int(match.group(2) or match.group(1))
        need(1 <= first <= last, f"the range {part} of classes is empty; give the lower number, from 1, first")
        numbers += range(first, last + 1)
    return numbers or None

"""The image names of a STAR file: 000001@stack.mrcs to (stack, slice) and back, and where stacks are looked for."""
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gemmi import cif

from ..core.errors import InputError


@dataclass(frozen=True)
class ImageColumn:
    """paths : absolute stack paths; texts : how the file named them; stack_id (n,) int32; stack_index (n,) int64."""

    paths: list
    texts: list
    stack_id: np.ndarray
    stack_index: np.ndarray


def image_column(block, star_path, images_must_exist) -> ImageColumn:
    """Read rlnImageName of a gemmi block.

    Raises InputError: a name that is not `number@stack`, a stack that is not found (with where it was looked for).
    """
    column = block.find_values("_rlnImageName")
    n = len(column)
    stack_id, stack_index = np.empty(n, np.int32), np.empty(n, np.int64)
    numbers = {}
    for row, name in enumerate(column):
        if name[0] in "'\"":
            name = cif.as_string(name)
        index, at, text = name.partition("@")
        if not at:
            # RELION's way to name the only image of a file
            index, text = "1", name
        if not index.isdigit() or int(index) < 1 or not text:
            raise InputError(f"{star_path}: rlnImageName of row {row + 1} is '{name}'; expected number@stack.mrcs with "
                             "numbers from 1")
        stack_id[row] = numbers.setdefault(text, len(numbers))
        stack_index[row] = int(index) - 1
    texts = list(numbers)
    first_rows = np.unique(stack_id, return_index=True)[1]
    paths = [find_image_file(text, star_path, images_must_exist, int(row) + 1)
             for text, row in zip(texts, first_rows)]
    return ImageColumn(paths, texts, stack_id, stack_index)


def find_image_file(text, star_path, must_exist=True, row=None):
    """The absolute path of a stack named in a file: beside the file, in its parent folders, in the current folder.

    text : the name as written. must_exist False gives the path beside the file where none exists.
    Raises InputError that says where it was looked for.
    """
    folder = Path(os.path.abspath(star_path)).parent
    found = _search(text, folder)
    if found is None and must_exist:
        where = f" (row {row})" if row else ""
        looked = ("there" if os.path.isabs(text) else
                  f"in {folder}, its parent folders and the current folder {os.getcwd()}")
        raise InputError(f"{star_path}: stack {text}{where} was not found; looked {looked}. Put the stack there, or "
                         "run the command in the folder that the names start from")
    return os.path.normpath(found if found is not None else folder / text)


def image_texts(star_path, table):
    """rlnImageName (n,) 'S' of a table for a STAR file at `star_path`."""
    folder = Path(os.path.abspath(star_path)).parent
    written = table.carried.get("image_texts", ())
    texts = []
    for number, stack in enumerate(table.stack_paths):
        text = written[number] if number < len(written) else None
        # a project-relative name is what RELION wants; keep it while it still leads to the same file
        kept = text is not None and _same(_search(text, folder), stack)
        texts.append(text if kept else _relative(stack, folder))
    names = [f"{index:06d}@{texts[stack]}" for index, stack in
             zip((table.stack_index + 1).tolist(), table.stack_id.tolist())]
    return np.array([name.encode("utf-8") for name in names], dtype="S")


def _search(text, folder):
    if os.path.isabs(text):
        return text if os.path.exists(text) else None
    for base in (folder, *folder.parents, Path.cwd()):
        candidate = base / text
        if candidate.exists():
            return str(candidate)
    return None


def _same(found, stack):
    return found is not None and os.path.normpath(found) == os.path.normpath(stack)


def _relative(stack, folder):
    """Relative where stack and folder share a top folder; absolute elsewhere, as ../../../data/x says little."""
    stack = os.path.abspath(stack)
    if Path(stack).parts[:2] != folder.parts[:2]:
        return stack
    return os.path.relpath(stack, folder)

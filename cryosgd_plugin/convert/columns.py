"""Columns of the table as Scipion's typed attributes and back."""
from __future__ import annotations

import re

import numpy as np
from pyworkflow.object import Float, Integer, String

# STAR columns that Scipion keeps in objects of its own
COORDINATES = ("rlnCoordinateX", "rlnCoordinateY")
# tag → (getter, setter) of the CTF model
CTF_QUALITY = {"rlnCtfMaxResolution": ("getResolution", "setResolution"),
               "rlnCtfFigureOfMerit": ("getFitQuality", "setFitQuality"),
               "rlnCtfImage": ("getPsdFile", "setPsdFile")}
# 007 is a name, not the number 7; SQLite's integers end before 20 digits
_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")
_NUMBER = re.compile(r"[+-]?(\d+\.\d*|\.\d+|0|[1-9]\d*)([eE][+-]?\d+)?")


def exact_position(coordinate):
    """(x, y) in px of a Scipion Coordinate, whose own numbers are whole: what was read stays exact until somebody moves
    the particle."""
    position = []
    for tag, value in zip(COORDINATES, coordinate.getPosition()):
        exact = coordinate.getAttributeValue(f"_{tag}")
        position.append(exact if exact is not None and int(exact) == value else value)
    return position


def column_values(column):
    """(Scipion type, list of Python values) of a table column: whole numbers, numbers or text by its content."""
    if column.dtype.kind in "iub":
        return Integer, column.tolist()
    if column.dtype.kind == "f":
        return Float, column.tolist()
    texts = [_unquoted(token) for token in column.tolist()]
    if all(map(_WHOLE.fullmatch, texts)):
        return Integer, [int(text) for text in texts]
    if all(map(_NUMBER.fullmatch, texts)):
        return Float, [float(text) for text in texts]
    return String, texts


def column_array(values):
    """(n,) column of Python values; where some are missing, text with None as RELION writes it."""
    if any(value is None for value in values) or isinstance(values[0], str):
        return np.array([str(value).encode("utf-8") for value in values], dtype="S")
    return np.array(values, dtype=np.float64 if isinstance(values[0], float) else np.int64)


def attribute_name(tag):
    """Name of the Scipion attribute of a STAR tag; Scipion splits names at dots, so these are spelled out."""
    return "_" + tag.replace(".", "__dot__")


def tag_of(attribute):
    """The STAR tag of an attribute: the inverse of `attribute_name`."""
    return attribute[1:].replace("__dot__", ".") if attribute.startswith("_") else attribute


def _unquoted(token):
    text = token.decode("utf-8") if isinstance(token, bytes) else str(token)
    return text[1:-1] if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0] else text

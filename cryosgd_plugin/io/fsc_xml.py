"""An FSC curve as the XML file that the EMDB asks for with a deposition."""
from __future__ import annotations

import math
from xml.etree import ElementTree

from .files import atomic_write


def write_fsc_xml(path, frequencies, values, title="Fourier shell correlation"):
    """Write one curve in the EMDB's format, atomically.

    frequencies : (n,) 1/Å; values : (n,), of which those that are no number are left out
    Raises ValueError where the two differ in length, InputError where the file can't be written.
    """
    if len(frequencies) != len(values):
        raise ValueError(f"{len(frequencies)} frequencies and {len(values)} values are no curve")
    root = ElementTree.Element("fsc", title=title, xaxis="Resolution (A-1)", yaxis="Correlation Coefficient")
    for frequency, value in zip(frequencies, values):
        if math.isfinite(value):
            coordinate = ElementTree.SubElement(root, "coordinate")
            ElementTree.SubElement(coordinate, "x").text = f"{frequency:.6f}"
            ElementTree.SubElement(coordinate, "y").text = f"{value:.6f}"
    ElementTree.indent(root)
    with atomic_write(path) as partial:
        ElementTree.ElementTree(root).write(partial, encoding="UTF-8", xml_declaration=True)

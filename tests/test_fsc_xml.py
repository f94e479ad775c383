"""The EMDB's XML of an FSC curve."""
from xml.etree import ElementTree

import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.fsc_xml import write_fsc_xml


def test_the_file_that_a_deposition_asks_for(tmp_path):
    path = tmp_path / "fsc.xml"
    write_fsc_xml(path, [0.01, 0.02, 0.03], [0.999, float("nan"), -0.0123456], "FSC of α & β")
    assert path.read_text(encoding="utf-8").startswith("<?xml version='1.0' encoding='UTF-8'?>\n<fsc title=")
    root = ElementTree.parse(path).getroot()
    assert (root.tag, root.get("title")) == ("fsc", "FSC of α & β")
    assert (root.get("xaxis"), root.get("yaxis")) == ("Resolution (A-1)", "Correlation Coefficient")
    points = [tuple(point.findtext(axis) for axis in "xy") for point in root.findall("coordinate")]
    assert points == [("0.010000", "0.999000"), ("0.030000", "-0.012346")]


def test_what_is_no_curve_or_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match="2 frequencies and 1 values"):
        write_fsc_xml(tmp_path / "fsc.xml", [0.1, 0.2], [1.0])
    with pytest.raises(InputError, match="does not exist"):
        write_fsc_xml(tmp_path / "absent" / "fsc.xml", [0.1], [1.0])
    assert not list(tmp_path.iterdir())

"""A STAR file with all that RELION and others put into one, and its way into a Scipion set."""
import os
from dataclasses import replace

import mrcfile
import numpy as np
from pwem.objects import SetOfParticles

from cryosgd_plugin.convert import set_from_table

EXACT = 1e-6
STAR = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnImageDimensionality #8
_rlnBeamTiltX #9
_rlnBeamTiltY #10
_rlnEvenZernike #11
_rlnMtfFileName #12
first 1 300.0 2.7 0.1 1.25 20 2 0.12 -0.34 [0.1,0.2,0.3] mtf_k2.star
second 2 200.0 1.4 0.07 1.25 20 2 0.0 0.0 [0,0,0] mtf_k2.star

# version 30001

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnCoordinateX #3
_rlnCoordinateY #4
_rlnOpticsGroup #5
_rlnDefocusU #6
_rlnDefocusV #7
_rlnDefocusAngle #8
_rlnPhaseShift #9
_rlnCtfBfactor #10
_rlnCtfScalefactor #11
_rlnCtfMaxResolution #12
_rlnCtfFigureOfMerit #13
_rlnAngleRot #14
_rlnAngleTilt #15
_rlnAnglePsi #16
_rlnOriginXAngst #17
_rlnOriginYAngst #18
_rlnRandomSubset #19
_rlnClassNumber #20
_rlnImageId #21
_rlnGroupName #22
_myWholeNumber #23
_myNumber #24
_myText #25
_myCode #26
"""
# image, micrograph, x, y, group | defocus U, V, angle, phase, B, scale | CTF quality | pose | half, class, id | others
ROWS = [
    '2@{a} "mics/mic one.mrc" 101.25 202.5 1 15000.5 14500.25 12.5 3.5 1.5 0.9 '
    '3.9 0.12 10.1 20.2 30.3 1.11 -2.22 1 3 11 g1 5 0.123456789 "two words" 007',
    '1@{b} mics/two.mrc 11 22.75 2 14000 14800.5 170.25 0 0 1.0 '
    '4.2 0.1 -170.5 90.0 -0.25 0 0 2 1 12 g1 -6 1e-5 plain 008',
    '1@{a} "mics/mic one.mrc" 33 44 1 20000 19000 -45 0 0 1.1 '
    '3.5 0.2 0 0 77.7 -3.5 4.5 1 1 20 g2 0 2.5 None 010',
    '3@{a} mics/two.mrc 1 2 2 10000 10000 0 90 2 1.0 '
    '3.7 0.3 120 179.5 -120 12.25 0.005 2 2 21 g2 123456789 -1.5 x 011',
]


def write_star(folder):
    """Two stacks of noise in 20 px boxes and a STAR file with all that RELION and others put into one."""
    rng = np.random.default_rng(1)
    for name, count in (("stacks/a.mrcs", 3), ("b.mrcs", 1)):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with mrcfile.new(path) as stack:
            stack.set_data(rng.normal(size=(count, 20, 20)).astype(np.float32))
            stack.set_image_stack()
    path = folder / "in.star"
    path.write_text(STAR + "\n".join(ROWS).format(a="stacks/a.mrcs", b="b.mrcs") + "\n")
    return path


def to_scipion(table, folder, name="set.sqlite"):
    """The table as a Scipion set, written, closed and opened again."""
    particles = SetOfParticles(filename=str(folder / name))
    set_from_table(table, particles, root=folder)
    return reopened(particles)


def reopened(particles):
    path = particles.getFileName()
    particles.write()
    particles.close()
    again = SetOfParticles(filename=path)
    again.loadAllProperties()
    return again


def assert_same_tables(got, wanted, *, ctf_as_numbers=True):
    """Equal to 1e-6, with ids apart; text may have gained or lost quotes."""
    columns, wanted_columns = dict(got._columns()), dict(wanted._columns())
    assert set(columns) - {"ids"} == set(wanted_columns) - {"ids"}
    skipped = {"ids", "stack_id"} | (set() if ctf_as_numbers else {"defocus_u", "defocus_v", "defocus_angle_deg"})
    for name in set(columns) - skipped:
        one, other = columns[name], wanted_columns[name]
        if one.dtype.kind == "S" or other.dtype.kind == "S":
            try:
                one, other = one.astype(float), other.astype(float)
            except ValueError:
                assert [t.strip(b'"') for t in one.tolist()] == [t.strip(b'"') for t in other.tolist()], name
                continue
        np.testing.assert_allclose(one, other, rtol=0, atol=EXACT, err_msg=name)
    paths = [[os.path.realpath(table.stack_paths[i]) for i in table.stack_id] for table in (got, wanted)]
    assert paths[0] == paths[1]
    assert [replace(g, extra={}) for g in got.optics] == [replace(g, extra={}) for g in wanted.optics]
    assert [g.extra for g in got.optics] == [g.extra for g in wanted.optics]
